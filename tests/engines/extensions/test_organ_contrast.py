# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_semgan.engines import OrganContrast
from monai_semgan.engines.extension import Part, SemiSupervisedBatch


def batch(classes: int = 1) -> SemiSupervisedBatch:
    """Images of noise about 0, whose organs are squares."""
    generator = torch.Generator().manual_seed(0)
    label_map = torch.full((6, classes, 24, 24), -1.0)
    label_map[:, -1, 4:14, 6:18] = 1
    if classes > 1:
        label_map[:, 1, 16:22, 6:18] = 1
        label_map[:, 0] = -label_map[:, 1:].amax(1)
    image = torch.rand(6, 1, 24, 24, generator=generator) * 0.2 - 0.1
    return SemiSupervisedBatch(Part(image[:0]), Part(image, label_map))


def inner(image: Tensor) -> Tensor:
    return image[..., 5:13, 7:17]


def test_the_organ_moves_by_offset_and_gain_about_its_mean_and_all_else_stays() -> None:
    data = batch()
    before = data.pairs.image.clone()
    OrganContrast(p=1, offset=(-0.4, -0.4), gain=(0.5, 0.5)).prepare(data)
    mean = before[..., 4:14, 6:18].mean((2, 3), True)
    torch.testing.assert_close(inner(data.pairs.image), mean - 0.4 + 0.5 * (inner(before) - mean))
    outside = torch.ones(24, 24, dtype=torch.bool)
    outside[3:15, 5:19] = False
    assert data.pairs.image[..., outside].equal(before[..., outside])


def test_each_class_has_a_contrast_of_its_own() -> None:
    torch.manual_seed(0)
    data = batch(classes=3)
    before = data.pairs.image.clone()
    OrganContrast(p=1, gain=(1, 1)).prepare(data)
    moved = (data.pairs.image - before)[:, 0]
    first, second = moved[:, 5:13, 7:17].mean((1, 2)), moved[:, 17:21, 7:17].mean((1, 2))
    assert (first - second).abs().min() > 1e-3 and first.std() > 0.05
    # background is no organ
    assert not moved[:, :, :4].any()


def test_a_share_of_0_and_images_without_label_map_stay() -> None:
    data = batch()
    data.images = Part(data.pairs.image.clone())
    before = data.pairs.image.clone()
    OrganContrast(p=0).prepare(data)
    assert data.pairs.image.equal(before)
    OrganContrast(p=1).prepare(data)
    assert data.images.image.equal(before) and not data.pairs.image.equal(before)
    assert data.pairs.image.abs().max() <= 1


@pytest.mark.parametrize("settings", [{"p": 2}, {"offset": (1, -1)}, {"gain": (2, 1)}])
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        OrganContrast(**settings)  # type: ignore[arg-type]
