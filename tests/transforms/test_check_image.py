# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

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
        (with_value(float("nan")), "1 of 16 values are NaN or infinite"),
        (with_value(float("inf")), "1 of 16 values are NaN or infinite"),
        (torch.rand(3, 4, 4), "image has 3 channels, 1 expected"),
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


@pytest.mark.parametrize("settings", [{"channels": 0}, {"spatial_dims": 0}, {"lower": 60, "upper": 40}, {"upper": 101}])
def test_bad_settings(settings: dict) -> None:
    with pytest.raises(ValueError, match="have to be|no range"):
        CheckImage(**settings)
