# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.inferers import SimpleInferer
from torch import Tensor

from monai_semgan.inferers import SliceWiseInferer, ViewAveragingInferer, WPlusInferer, WPlusResult
from monai_semgan.networks.nets import SemanticGAN

FLIPS = ([-1], [-2], [-2, -1])
SHIFTS = [(2, -1), (0, 3)]


def padded_shift(images: Tensor, rows: int, columns: int) -> Tensor:
    """Move images by cutting them out of padded ones."""
    height, width = images.shape[-2:]
    wide = F.pad(images, (4, 4, 4, 4), mode="replicate")
    return wide[..., 4 - rows : 4 - rows + height, 4 - columns : 4 - columns + width]


def each_view(images: Tensor, segment: Callable[[Tensor], Any]) -> list[Tensor]:
    """What is found in each mirrored and each shifted image, brought back to the image's own place."""
    views = [segment(images.flip(axes)).flip(axes) for axes in FLIPS]
    for rows, columns in SHIFTS:
        views.append(padded_shift(segment(padded_shift(images, rows, columns)), -rows, -columns))
    return views


@pytest.mark.parametrize("settings", [{"steps": 0}, {"steps": 3}, {"steps": 2, "chunk_size": 2}])
def test_is_the_mean_of_what_each_view_gives(network: SemanticGAN, images: Tensor, settings: dict[str, Any]) -> None:
    single = WPlusInferer(**settings, amp=False)
    views = [single(images, network), *each_view(images, lambda view: single(view, network))]
    logits = ViewAveragingInferer(single, flips=FLIPS, shifts=SHIFTS)(images, network)
    assert isinstance(logits, Tensor) and not logits.requires_grad
    torch.testing.assert_close(logits, torch.stack(views).mean(0))  # type: ignore[arg-type]
    # views differ, so averaging does something
    assert (logits - views[0]).abs().max() > 1e-3


def test_views_are_averaged_too_where_starts_are_given(network: SemanticGAN, images: Tensor) -> None:
    single = WPlusInferer(steps=2, amp=False)
    starts = network.encode(images.roll(1, 0)).detach()[:, None]

    def refined(view: Tensor) -> Any:
        # a view of its own may start at the encoder's code for it
        return single(view, network, starts=torch.cat([starts, network.encode(view).detach()[:, None]], dim=1))

    first = single(images, network, starts=starts, return_details=True)
    assert isinstance(first, WPlusResult)
    logits = ViewAveragingInferer(single, flips=FLIPS, shifts=SHIFTS)(images, network, starts=starts)
    assert isinstance(logits, Tensor)
    torch.testing.assert_close(logits, torch.stack([first.logits, *each_view(images, refined)]).mean(0))
    assert (logits - first.logits).abs().max() > 1e-3
    # they start elsewhere than those of the image alone
    assert (logits - ViewAveragingInferer(single, flips=FLIPS, shifts=SHIFTS)(images, network)).abs().max() > 1e-3
    details = ViewAveragingInferer(single, flips=FLIPS, shifts=SHIFTS)(
        images, network, starts=starts, return_details=True
    )
    assert isinstance(details, WPlusResult) and torch.equal(details.wplus, first.wplus)
    assert torch.equal(details.logits, logits)


@pytest.mark.parametrize("axes", FLIPS)
def test_a_mirrored_image_gets_the_mirrored_map(network: SemanticGAN, images: Tensor, axes: list[int]) -> None:
    inferer = ViewAveragingInferer(WPlusInferer(steps=2, amp=False), flips=FLIPS)
    logits = inferer(images, network)
    assert isinstance(logits, Tensor)
    mirrored = inferer(images.flip(axes), network)
    torch.testing.assert_close(mirrored, logits.flip(axes), atol=1e-4, rtol=1e-4)


def test_details_are_those_of_the_image_as_it_is(network: SemanticGAN, images: Tensor) -> None:
    single = WPlusInferer(steps=2)
    plain = single(images, network, return_details=True)
    tracked = MetaTensor(images, meta={"filename_or_obj": "a.png"})
    inferer = ViewAveragingInferer(single, flips=FLIPS)
    result = inferer(tracked, network, return_details=True)
    assert isinstance(plain, WPlusResult) and isinstance(result, WPlusResult)
    for name in ("wplus", "reconstruction", "losses"):
        assert torch.equal(torch.as_tensor(getattr(result, name)), getattr(plain, name))
    assert isinstance(result.logits, MetaTensor) and result.logits.meta["filename_or_obj"] == "a.png"
    torch.testing.assert_close(result.logits.as_tensor(), inferer(images, network))


def test_no_views_leave_the_inferer_as_it_is(network: SemanticGAN, images: Tensor) -> None:
    single = WPlusInferer(steps=2)
    starts = network.encode(images).detach()[:, None]
    for given in ({}, {"starts": starts}):
        assert torch.equal(ViewAveragingInferer(single)(images, network, **given), single(images, network, **given))


def test_wraps_other_inferers(images: Tensor) -> None:
    logits = ViewAveragingInferer(SimpleInferer(), flips=FLIPS)(images, lambda view: view.cumsum(-1))
    forwards, backwards = images.cumsum(-1), images.flip(-1).cumsum(-1).flip(-1)
    torch.testing.assert_close(logits, (forwards + backwards) / 2)


def test_slices_of_volumes_are_averaged(network: SemanticGAN, images: Tensor) -> None:
    inferer = ViewAveragingInferer(WPlusInferer(steps=1, amp=False), flips=FLIPS, shifts=SHIFTS)
    volume = images.movedim(0, -1)[None]
    result = SliceWiseInferer(inferer, chunk=3)(volume, network, return_details=True)
    expected = inferer(images, network, return_details=True)
    assert isinstance(result, WPlusResult) and isinstance(expected, WPlusResult)
    torch.testing.assert_close(result.logits[0], expected.logits.movedim(0, -1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(result.wplus[0], expected.wplus, atol=1e-5, rtol=1e-4)


def test_gives_details_where_the_wrapped_inferer_does() -> None:
    for inner, details in ((WPlusInferer(), True), (SimpleInferer(), False)):
        for wrapped in (
            ViewAveragingInferer(inner),
            SliceWiseInferer(inner),
            SliceWiseInferer(ViewAveragingInferer(inner)),
        ):
            assert wrapped.gives_details is details
    assert WPlusInferer.gives_details


def test_is_built_from_a_config() -> None:
    config = {
        "_target_": "monai_semgan.inferers.ViewAveragingInferer",
        "inferer": {"_target_": "monai_semgan.inferers.WPlusInferer.from_preset", "preset": "best", "steps": 5},
        "flips": [[-1]],
        "shifts": [[3, -3]],
    }
    inferer = ConfigParser({"inferer": config}).get_parsed_content("inferer")
    assert isinstance(inferer, ViewAveragingInferer) and (inferer.flips, inferer.shifts) == ([(-1,)], [(3, -3)])
    assert (inferer.inferer.steps, inferer.inferer.learning_rate) == (5, 0.06)


@pytest.mark.parametrize("flips", [[[1]], [[]], [[-1, -3]]])
def test_axes_that_are_none_of_an_image(flips: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="flips hold"):
        ViewAveragingInferer(WPlusInferer(), flips=flips)


def test_classes_that_are_mirror_images_are_exchanged() -> None:
    left = (torch.arange(8) < 4).float()

    def sides(images: Tensor) -> Tensor:
        """Background, what is on the left, and what is on the right."""
        return torch.cat([torch.zeros_like(images), images * left, images * (1 - left)], dim=1)

    images = torch.randn(2, 1, 8, 8)
    found = ViewAveragingInferer(SimpleInferer(), flips=FLIPS, pairs=[[1, 2]])(images, sides)
    torch.testing.assert_close(found, sides(images))
    mixed = ViewAveragingInferer(SimpleInferer(), flips=[[-1]])(images, sides)
    assert (mixed - sides(images)).abs().max() > 0.1
