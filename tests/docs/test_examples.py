# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def run(name: str, folder: Path, *arguments: str) -> str:
    """Run an example in a folder; returns what it prints."""
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tiles(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L"))


def numbers(pattern: str, text: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, text)]


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    return json.loads((EXAMPLES / "examples.ipynb").read_text(encoding="utf-8"))


def test_segment(tmp_path: Path) -> None:
    told = run("segment.py", tmp_path)
    mask = tiles(tmp_path / "mask.png")
    assert mask.shape == tiles(tmp_path / "drawn.png").shape == (128, 128)
    assert numbers(r"lung: ([\d.]+)%", told) == [pytest.approx((mask > 0).mean() * 100, abs=0.06)]
    assert 10 < (mask > 0).mean() * 100 < 60
    # three tiles: image, outlined image, reconstruction
    assert tiles(tmp_path / "overlay.png").shape == (256, 3 * 256)
    # a file of the user's, and the same file again
    assert run("segment.py", tmp_path, "drawn.png").split("in")[0] == told.split("in")[0]


def test_samples(tmp_path: Path) -> None:
    run("samples.py", tmp_path)
    grid = tiles(tmp_path / "samples.png")
    # two rows of eight tiles with a border of two pixels
    assert grid.shape == (2 * 130 + 2, 8 * 130 + 2)
    images, labels = grid[2:130, 2:], grid[132:260, 2:]
    assert images.std() > 20
    # label maps are nearly binary
    assert np.mean((labels < 30) | (labels > 225)) > 0.9


def test_invert(tmp_path: Path) -> None:
    told = run("invert.py", tmp_path)
    encoder, refined = numbers(r"error ([\d.]+)", told)
    assert refined < 0.7 * encoder
    assert all(share > 95 for share in numbers(r"([\d.]+)%", told))
    assert tiles(tmp_path / "inversion.png").shape == (4 * 130 + 2, 2 * 130 + 2)


def test_train(tmp_path: Path) -> None:
    told = run("train.py", tmp_path)
    assert "after 8 steps" in told
    for file in ("gan/losses.csv", "gan/state.pt", "gan/samples/samples_00002.png", "encoder/losses.csv", "model.pt"):
        assert (tmp_path / file).stat().st_size > 100, file
    # the same command continues a training, here one that is finished
    rows = (tmp_path / "gan" / "losses.csv").read_text()
    run("train.py", tmp_path)
    assert (tmp_path / "gan" / "losses.csv").read_text() == rows


def test_notebook(notebook: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # one process for all cells, as in a notebook
    code = "\n\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    (tmp_path / "cells.py").write_text(code)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    told = run(str(tmp_path / "cells.py"), tmp_path)
    (dice,) = numbers(r"Dice ([\d.]+)", told)
    assert dice > 0.9
    encoder, refined = (numbers(rf"{name} ([\d.]+)", told)[-1] for name in ("encoder", "refined"))
    assert refined < encoder
    (noise,) = numbers(r"of noise: ([\d.]+)", told)
    assert noise > 3 * refined


def test_notebook_holds_no_outputs(notebook: dict[str, Any]) -> None:
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 3
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
