# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import torch

from monai_semgan.transforms.save_slice_errors import SaveSliceErrorsd


def test_error_of_each_slice(tmp_path: Path) -> None:
    image = torch.zeros(1, 4, 4, 3)
    drawn = image.clone()
    drawn[..., 1] = 0.5
    drawn[0, 0, 0, 2] = 1.0
    item = SaveSliceErrorsd("reconstruction", tmp_path)({"image": image, "reconstruction": drawn, "name": "p1/a"})
    # one of sixteen pixels is 1 off
    assert item["slice_errors"] == [0.0, 0.5, 0.25]
    lines = (tmp_path / "p1" / "a_slices.csv").read_text().splitlines()
    assert lines == ["slice,reconstruction_error", "1,0.0", "2,0.5", "3,0.25"]
