# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A cohort that several processes share, one of which is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bundle_runs import EVALUATE, rows, tiny
from tests.image_files import gradient, write_png

FILES = [*EVALUATE, "configs/multi_gpu_inference.yaml"]
NAMES = [f"{name}.png" for name in "abcdefg"]
KILL = """
+imports:
- "$import os"
- "$import signal"
+postprocessing::transforms:
- _target_: monai.transforms.Lambda
  func: "$lambda item: os.kill(os.getpid(), signal.SIGKILL) if item['name'] == 'd' else item"
"""


@pytest.fixture
def bundle(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "bundles" / "lung_xray_segmentation")


def run(
    tmp_path: Path, network: dict[str, Any], files: list[str], processes: int = 2, **more: str
) -> subprocess.CompletedProcess[str]:
    options = {
        **network,
        "datalist": tmp_path / "datalist.json",
        "output_dir": tmp_path / "out",
        "batch_size": 1,
        **more,
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command += ["-m", "monai.bundle", "run", "--config_file", str(files)]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return subprocess.run(command, capture_output=True, text=True)


def test_what_a_killed_process_left_is_done_by_the_same_command(tmp_path: Path, bundle: None) -> None:
    for index, name in enumerate(NAMES):
        write_png(tmp_path / name, (gradient(24, 20) + index).astype(np.uint8))
        write_png(tmp_path / f"label_{name}", (gradient(24, 20) > 40).astype(np.uint8) * 255)
    items = [{"image": name, "label": f"label_{name}"} for name in NAMES]
    (tmp_path / "datalist.json").write_text(json.dumps({"test": items}))
    (tmp_path / "kill.yaml").write_text(KILL)
    network = tiny(tmp_path / "model.pt")

    assert run(tmp_path, network, [*FILES, str(tmp_path / "kill.yaml")]).returncode != 0
    out = tmp_path / "out"
    # the second process has b, d and f, and dies at d
    assert set(rows(out / "report.1.csv")) == {"b.png"}
    assert not (out / "report.csv").exists() and not (out / "summary.json").exists()
    done = {name for part in out.glob("report.*.csv") for name in rows(part)}
    written = {name: (out / "masks" / f"{Path(name).stem}_mask.png").stat().st_mtime_ns for name in done}

    finished = run(tmp_path, network, FILES, processes=3, resume="true")
    assert finished.returncode == 0, finished.stderr[-3000:]
    report = rows(out / "report.csv")
    assert list(report) == NAMES and {row["status"] for row in report.values()} == {"ok"}
    assert sorted(path.name for path in out.glob("report*")) == ["report.csv", "report.html", "report.json"]
    for name, time in written.items():
        assert (out / report[name]["mask"]).stat().st_mtime_ns == time

    alone = run(tmp_path, network, EVALUATE, processes=1, output_dir=str(tmp_path / "alone"))
    assert alone.returncode == 0, alone.stderr[-3000:]
    assert rows(tmp_path / "alone" / "report.csv") == report
    assert (tmp_path / "alone" / "summary.json").read_text() == (out / "summary.json").read_text()
