# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from torch import Tensor

from monai_semgan.inferers import ViewAveragingInferer, WPlusInferer, WPlusResult
from monai_semgan.networks.nets import SemanticGAN

FLIPS = ([-1], [-2], [-2, -1])
SHIFTS = [(2, -1), (0, 3)]


def padded_shift(images: Tensor, rows: int, columns: int) -> Tensor:
    """Move images by cutting them out of padded ones."""
    height, width = images.shape[-2:]
    wide = F.pad(images, (4, 4, 4, 4), mode="replicate")
    return wide[..., 4 - rows : 4 - rows + height, 4 - columns : 4 - columns + width]


@pytest.mark.parametrize("settings", [{"steps": 0}, {"steps": 3, "learning_rate": 0.1}, {"steps": 2, "chunk_size": 2}])
def test_is_the_mean_of_what_each_view_gives(network: SemanticGAN, images: Tensor, settings: dict[str, Any]) -> None:
    single = WPlusInferer(**settings)
    views = [single(images, network)]
    views += [single(images.flip(axes), network).flip(axes) for axes in FLIPS]  # type: ignore[union-attr]
    for rows, columns in SHIFTS:
        shifted = single(padded_shift(images, rows, columns), network)
        assert isinstance(shifted, Tensor)
        views.append(padded_shift(shifted, -rows, -columns))
    logits = ViewAveragingInferer(flips=FLIPS, shifts=SHIFTS, **settings)(images, network)
    assert isinstance(logits, Tensor) and not logits.requires_grad
    torch.testing.assert_close(logits, torch.stack(views).mean(0))  # type: ignore[arg-type]
    # views differ, so averaging does something
    assert (logits - views[0]).abs().max() > 1e-3


@pytest.mark.parametrize("axes", FLIPS)
def test_a_mirrored_image_gets_the_mirrored_map(network: SemanticGAN, images: Tensor, axes: list[int]) -> None:
    inferer = ViewAveragingInferer(flips=FLIPS, steps=2, learning_rate=0.1)
    logits = inferer(images, network)
    assert isinstance(logits, Tensor)
    mirrored = inferer(images.flip(axes), network)
    torch.testing.assert_close(mirrored, logits.flip(axes), atol=1e-4, rtol=1e-4)


def test_details_are_those_of_the_image_as_it_is(network: SemanticGAN, images: Tensor) -> None:
    settings: dict[str, Any] = {"steps": 2, "learning_rate": 0.1}
    plain = WPlusInferer(**settings)(images, network, return_details=True)
    tracked = MetaTensor(images, meta={"filename_or_obj": "a.png"})
    inferer = ViewAveragingInferer(flips=FLIPS, **settings)
    result = inferer(tracked, network, return_details=True)
    assert isinstance(plain, WPlusResult) and isinstance(result, WPlusResult)
    for name in ("wplus", "reconstruction", "losses", "steps"):
        assert torch.equal(torch.as_tensor(getattr(result, name)), getattr(plain, name))
    assert isinstance(result.logits, MetaTensor) and result.logits.meta["filename_or_obj"] == "a.png"
    torch.testing.assert_close(result.logits.as_tensor(), inferer(images, network))


def test_codes_of_the_image_and_no_views_leave_one_view(network: SemanticGAN, images: Tensor) -> None:
    settings: dict[str, Any] = {"steps": 2, "learning_rate": 0.1}
    starts = network.encode(images).detach()[:, None]
    for inferer, given in (
        (ViewAveragingInferer(flips=FLIPS, shifts=SHIFTS, **settings), {"starts": starts}),
        (ViewAveragingInferer(**settings), {}),
    ):
        assert torch.equal(inferer(images, network, **given), WPlusInferer(**settings)(images, network, **given))


def test_presets_and_settings() -> None:
    inferer = ViewAveragingInferer.from_preset("balanced", steps=5, flips=[[-1]])
    assert isinstance(inferer, ViewAveragingInferer) and (inferer.steps, inferer.flips) == (5, [(-1,)])
    for flips in ([[1]], [[]], [[-1, -3]]):
        with pytest.raises(ValueError, match="flips hold"):
            ViewAveragingInferer(flips=flips)
    with pytest.raises(ValueError, match="steps is -2"):
        ViewAveragingInferer(steps=-2)
