# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The files that an image enters are those that docs/design.md draws, and few."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.image_files import gradient, write_png
from tests.tiny_bundle import tiny_bundle, with_weights
from tests.volume_files import BACK, HEAD, LEFT, affine_of, values, write_volume

# prints the package's files in which a function was called, imports aside
WATCHED = """
import inspect, os, sys, threading
import monai_semgan
from monai_semgan.cli import main

package, entered = os.path.dirname(monai_semgan.__file__) + os.sep, set()

def watch(frame, event, _):
    path = frame.f_code.co_filename
    if event == "call" and path.startswith(package) and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        entered.add(path[len(package):].replace(os.sep, "/"))

threading.setprofile(watch)
sys.setprofile(watch)
code = main(sys.argv[1:])
sys.setprofile(None)
print("entered:", *sorted(entered))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def drawn(repository: Path) -> tuple[set[str], set[str]]:
    """The files of the table, and those of the text on volumes."""
    page = (repository / "docs" / "design.md").read_text(encoding="utf-8")
    way = page.split("## The way of an image")[1].split("Nothing calls back upstairs.")[0]
    table, volumes = way.split("A volume's format")
    return paths(table.split("|---:|---|---|")[1]), paths(volumes)


def paths(text: str) -> set[str]:
    return set(re.findall(r"`([\w/]+\.py)`", text))


def entered(*words: str | Path) -> set[str]:
    """The files outside ``networks`` and ``losses`` that ``semgan segment`` enters."""
    command = [sys.executable, "-W", "ignore", "-c", WATCHED, "segment", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = done.stdout.rsplit("entered: ", 1)[1].split()
    return {file for file in files if not file.startswith(("networks/", "losses/"))}


def test_way_of_a_radiograph(drawn: tuple[set[str], set[str]], tmp_path: Path) -> None:
    image = write_png(tmp_path / "xray.png", gradient().astype(np.uint8))
    way = entered(image, tmp_path / "out", "--steps", "0")
    assert way == drawn[0]
    assert len(way) <= 12


def test_way_of_a_volume(drawn: tuple[set[str], set[str]], repository: Path, tmp_path: Path) -> None:
    bundle = with_weights(tiny_bundle(tmp_path, repository, "liver_ct_mri_segmentation"))
    volume = write_volume(tmp_path / "ct.nii.gz", values() * 3 - 1000, affine_of(LEFT, BACK, HEAD))
    way = entered(volume, tmp_path / "out", "--bundle", bundle, "--steps", "0")
    table, volumes = drawn
    assert way == (table | volumes) - {"formats/picture.py", "transforms/display.py"}
    assert len(way) <= 16
