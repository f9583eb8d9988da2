# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from monai_semgan.transforms import CheckImage, CheckImaged


def nearly_constant() -> torch.Tensor:
    image = torch.full((1, 100, 100), 7.0)
    image[0, 0, :20] = 9.0
    return image


def with_value(value: float) -> torch.Tensor:
    image = torch.rand(1, 4, 4)
    image[0, 1, 2] = value
    return image


@pytest.mark.parametrize(
    "image, message",
    [
        (torch.zeros(1, 4, 4), r"image is constant, all values are 0"),
        (nearly_constant(), r"image is constant, at least 99 % of the values are 7"),
        (with_value(float("nan")), "image has 1 of 16 values that are NaN or infinite"),
        (with_value(float("inf")), "image has 1 of 16 values that are NaN or infinite"),
        (torch.rand(3, 4, 4), r"image has 3 channels \(RGB\), 1 channel \(grey\) expected"),
        (torch.rand(1, 4, 4, 4), r"image has 3 spatial dimensions \(shape \(4, 4, 4\)\), 2 expected"),
        (torch.zeros(1, 0, 4), r"image is empty \(shape \(1, 0, 4\)\)"),
    ],
)
def test_bad_images_are_named(image: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CheckImage()(image)


def test_good_image_passes_unchanged() -> None:
    image = torch.rand(3, 4, 4)
    assert CheckImaged("image", channels=3)({"image": image})["image"] is image


@pytest.mark.parametrize(
    "image, message",
    [
        (torch.full((3, 4, 4), 7.0), r"image is constant, all values are 7, 7, 7"),
        (torch.tensor([200.0, 30, 40])[:, None, None].expand(3, 4, 4), "image is constant, all values are 200, 30, 40"),
        (nearly_constant() * torch.tensor([1.0, 2, 3])[:, None, None], "at least 99 % of the values are 7, 14, 21"),
        (torch.rand(1, 4, 4), r"image has 1 channel \(grey\), 3 channels \(RGB\) expected"),
        (torch.rand(2, 4, 4), r"image has 2 channels, 3 channels \(RGB\) expected"),
    ],
)
def test_bad_colour_images_are_named(image: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CheckImage(channels=3)(image)


def test_colour_image_with_one_channel_that_varies_passes() -> None:
    image = torch.zeros(3, 4, 4)
    image[1] = torch.rand(4, 4)
    assert CheckImage(channels=3)(image) is image


@pytest.mark.parametrize("settings", [{"channels": 0}, {"spatial_dims": 0}, {"lower": 60, "upper": 40}, {"upper": 101}])
def test_bad_settings(settings: dict) -> None:
    with pytest.raises(ValueError, match="have to be|no range"):
        CheckImage(**settings)


def test_file_is_named() -> None:
    image = MetaTensor(torch.zeros(1, 4, 4), meta={"filename_or_obj": "folder/a.png"})
    with pytest.raises(ValueError, match=r"^a\.png is constant"):
        CheckImage()(image)
