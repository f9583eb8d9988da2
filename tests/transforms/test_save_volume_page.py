# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, LoadImage, LoadImaged
from PIL import Image

from monai_semgan.data.volume_reader import VolumeReader
from monai_semgan.transforms.axial import Axiald
from monai_semgan.transforms.ct_window import CTWindowd
from monai_semgan.transforms.save_overlay import LABEL_COLOUR, MASK_COLOUR
from monai_semgan.transforms.save_volume_page import TILE, SaveVolumePaged, page, spread
from tests.volume_files import FEET, FRONT, LEFT, affine_of, write_volume


@pytest.mark.parametrize(
    "slices, number, expected",
    [([2, 3, 4, 5, 6], 3, [2, 4, 6]), ([7], 5, [7]), ([3, 4], 6, [3, 4]), ([], 4, [0, 3, 6, 9])],
)
def test_slices_are_spread_through_the_mask(slices: list[int], number: int, expected: list[int]) -> None:
    mask = np.zeros((4, 4, 10), dtype=bool)
    mask[1, 2, slices] = True
    assert spread(mask, number) == expected


def test_page_of_a_coronal_volume(tmp_path: Path) -> None:
    # 24 columns of 1 mm, 10 slices to the feet, 6 rows of 2 mm
    affine = affine_of(LEFT, FEET, FRONT, spacing=(1.0, 5.0, 2.0))
    hounsfield = np.full((24, 10, 6), -1000, dtype=np.int16)
    hounsfield[4:20, :, 1:5] = 240
    path = write_volume(tmp_path / "a.nii.gz", hounsfield, affine)
    image = LoadImage(reader=VolumeReader(), ensure_channel_first=True)(path)
    mask, label = torch.zeros(1, 24, 10, 6), torch.zeros(1, 24, 10, 6)
    mask[:, 8:14, 3:9, 2:4] = 1
    label[:, 8:10, 3:9, 2:4] = 1
    loading = Compose(
        [LoadImaged("image", reader=VolumeReader()), *(t("image") for t in (EnsureChannelFirstd, Axiald, CTWindowd))]
    )
    save = SaveVolumePaged("pred", tmp_path / "pages", loading, slices=3, columns=2)
    item = {"pred": MetaTensor(mask, meta=image.meta), "label": label, "name": "p1/a"}
    out = save({**item, "slice_errors": [0.1] * 10})
    assert out["overlay_file"] == str(tmp_path / "pages" / "p1" / "a_overlay.png")
    drawn = np.asarray(Image.open(out["overlay_file"]))
    # 24 x 12 mm a slice, two rows of them, the last place empty
    assert drawn.shape == (TILE, 2 * TILE, 3)
    assert not drawn[TILE // 2 :, TILE:].any()
    tile = drawn[: TILE // 2, :TILE]
    assert tile[5, -5].max() == 0 and tile[TILE // 4, TILE // 2].min() > 240
    scale = TILE / 24
    for colour, left, right in ((MASK_COLOUR, 8, 14), (LABEL_COLOUR, 8, 10)):
        rows, columns = np.nonzero((tile == colour).all(-1))
        # two pixels wide, on both sides of the border
        assert abs(columns.max() - right * scale) <= 2 and rows.min() >= 2 * 2 * scale - 2
        assert columns.min() >= left * scale - 2


def test_captions_and_a_page_without_mask() -> None:
    volume = MetaTensor(torch.full((1, 8, 8, 3), -1.0))
    empty = np.zeros((8, 8, 3), dtype=bool)
    drawn = page(volume, [(empty, MASK_COLOUR)], [0, 2], ["slice 1", "slice 3"], 4)
    assert drawn.shape == (TILE, 2 * TILE, 3)
    assert drawn[:20].any() and not drawn[20:].any()


def test_settings_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="slices=0"):
        SaveVolumePaged("pred", tmp_path, Compose([]), slices=0)
