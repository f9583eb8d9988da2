# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image

from monai_semgan import Predictor


def test_snippets_run_one_after_the_other(repository: Path, tmp_path: Path) -> None:
    page = (repository / "docs" / "python.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(snippets) >= 5
    network = Predictor.from_bundle("lung_xray", device="cpu").network
    image, _ = network.sample(1, truncation=0.8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(((image[0, 0] + 1) * 127.5).byte().numpy()).save(tmp_path / "xray.png")
    (tmp_path / "page.py").write_text("\n".join(snippets))
    command = [sys.executable, "-W", "ignore", "page.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "('lung',) torch.Size([128, 128])" in done.stdout
    assert Image.open(tmp_path / "mask.png").size == (128, 128)
    assert (tmp_path / "runs" / "encoder" / "model.pt").is_file()
