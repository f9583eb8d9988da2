# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monailabel", reason="MONAI Label is not installed here: make test-label")

from monailabel.client import MONAILabelClient
from PIL import Image

from tests.label.label_server import LUNG, copy_bundle, dice, draw_studies, free_port, serving


def test_the_stock_app_serves_a_bundle(tmp_path: Path, repository: Path) -> None:
    """The commands of docs/annotate.md."""
    bundle = copy_bundle(repository, tmp_path / "bundles", LUNG)
    studies = draw_studies(bundle, tmp_path / "studies")
    # in a module's own process: MONAI Label's command runs whatever is called python
    copied = [
        sys.executable,
        "-m",
        "monailabel.main",
        "apps",
        "--download",
        "--name",
        "monaibundle",
        "--output",
        "apps",
    ]
    subprocess.run(copied, cwd=tmp_path, check=True, capture_output=True)
    app = tmp_path / "apps" / "monaibundle"
    (app / "model").mkdir()
    (app / "model" / LUNG).symlink_to(bundle)
    port = free_port()
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(app)]
    command += ["--studies", str(tmp_path / "studies"), "--conf", "models", LUNG, "--conf", "zoo_source", "ngc"]
    command += ["--conf", "sam2", "false", "--host", "127.0.0.1", "--port", str(port)]
    with serving(command, port, tmp_path / "server.log", tmp_path) as url:
        client = MONAILabelClient(url, str(tmp_path))
        assert client.info()["models"][LUNG]["config"]["refine_steps"] == -1
        for name in ("png", "jpeg"):
            # the stock app writes a mask in its image's format, where JPEG would change it
            file, _ = client.infer(LUNG, studies[name].id, {"refine_steps": 1, "result_extension": ".png"})
            mask = np.asarray(Image.open(file))
            assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}
            assert dice(mask, studies[name].mask) > 0.85
    shutil.rmtree(app)
