# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from tests.volume_files import BACK, HEAD, LEFT, affine_of, write_volume


def test_each_kind_has_a_folder_of_different_pictures(repository: Path, tmp_path: Path) -> None:
    specification = importlib.util.spec_from_file_location("foreign", repository / "configs" / "foreign_images.py")
    assert specification is not None and specification.loader is not None
    foreign = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(foreign)
    values = np.zeros((20, 24, 10), dtype=np.float32)
    values[4:8, 10:20, 2:6] = 100
    (tmp_path / "ct").mkdir()
    write_volume(tmp_path / "ct" / "a.nii.gz", values, affine_of(LEFT, BACK, HEAD, spacing=(1.0, 1.0, 2.0)))
    assert foreign.main(["--output", str(tmp_path / "out"), "--number", "2", "--volumes", str(tmp_path / "ct")]) == 0
    for kind in foreign.DRAWN:
        first, second = (np.asarray(Image.open(tmp_path / "out" / kind / f"{index}.png")) for index in range(2))
        assert first.dtype == np.uint8 and first.std() > 5
        assert first.shape != second.shape or (first != second).any()
    for kind in ("ct_slice", "lateral_projection", "frontal_projection"):
        picture = np.asarray(Image.open(tmp_path / "out" / kind / "a.png"))
        assert picture.min() == 0 and picture.max() == 255
    # 10 slices of 2 mm are 20 rows of 1 mm
    assert picture.shape == (20, 20)
