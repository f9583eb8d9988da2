# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_semgan.transforms import BinaryMask, BinaryMaskd, SameGridd
from tests.volume_files import BACK, FRONT, HEAD, LEFT, affine_of

AFFINE = affine_of(LEFT, BACK, HEAD)


def item(shape: tuple[int, ...] = (4, 5, 6), affine: np.ndarray = AFFINE) -> dict:
    meta = {"spatial_shape": np.array([4, 5, 6]), "original_affine": AFFINE}
    return {
        "image": MetaTensor(torch.zeros(1, 8, 8, 6), meta=meta),
        "label": MetaTensor(torch.zeros(1, *shape), affine),
    }


def test_same_grid_passes_within_rounding() -> None:
    pair = item(affine=AFFINE + 1e-3)
    assert SameGridd("label")(pair)["label"] is pair["label"]


def moved(row: int, column: int, value: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[row, column] = value
    return affine


@pytest.mark.parametrize(
    "pair, message",
    [
        (
            item((4, 5, 7)),
            r"label is on another grid than its image: it is of shape \(4, 5, 7\), the image of \(4, 5, 6\)",
        ),
        (
            item(affine=moved(2, 3, 33)),
            r"its origin is \[12.0, -7.0, 33.0\], the image's \[12.0, -7.0, 31.0\]: resample",
        ),
        (item(affine=moved(2, 2, 5)), r"its spacing is \[1.5, 0.7, 5.0\], the image's \[1.5, 0.7, 4.0\]: resample"),
        (item(affine=affine_of(LEFT, FRONT, HEAD)), r"its direction is .* 1\.0, .*the image's .* -1\.0, "),
    ],
)
def test_other_grids_are_told(pair: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SameGridd("label")(pair)


def test_pictures_are_compared_by_their_shape_and_named() -> None:
    image = MetaTensor(torch.zeros(1, 8, 8), meta={"spatial_shape": np.array([4, 5]), "original_affine": np.eye(4)})
    label = MetaTensor(torch.zeros(1, 4, 5), meta={"filename_or_obj": "folder/b.png"}, affine=2 * np.eye(4))
    assert SameGridd("label")({"image": image, "label": label})["label"] is label
    with pytest.raises(ValueError, match=r"^b.png is on another grid .* of shape \(5, 4\), the image of \(4, 5\)"):
        SameGridd("label")({"image": image, "label": label.transpose(1, 2)})


@pytest.mark.parametrize("foreground", [1, 255, 0.5])
def test_foreground_becomes_one(foreground: float) -> None:
    mask = torch.tensor([[[0, 1.0], [1, 0]]])
    assert torch.equal(BinaryMaskd("label")({"label": mask * foreground})["label"], mask)


def test_empty_and_full_masks() -> None:
    assert BinaryMask()(torch.zeros(1, 3, 3)).sum() == 0
    assert BinaryMask()(torch.full((1, 3, 3), 255.0)).sum() == 9


@pytest.mark.parametrize(
    "mask", [torch.tensor([[0.0, 1, 2]]), torch.tensor([[0.0, -1]]), torch.tensor([[0, float("nan")]])]
)
def test_masks_that_are_not_binary(mask: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="mask is not binary"):
        BinaryMask()(mask)


def test_channels() -> None:
    with pytest.raises(ValueError, match="mask has 2 channels"):
        BinaryMask()(torch.zeros(2, 3, 3))
