# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from monai_semgan.transforms import SolidOrgan

SHAPE = (40, 48, 9)


def box(rows: slice, columns: slice, slices: slice) -> Tensor:
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[rows, columns, slices] = True
    return mask


ORGAN = box(slice(8, 28), slice(6, 30), slice(2, 7))


def image_of(organ: float, *others: tuple[Tensor, float]) -> Tensor:
    """Intensities of one value within the organ, others in other places, and noise."""
    image = torch.full(SHAPE, -0.8)
    image[ORGAN] = organ
    for mask, value in others:
        image[mask] = value
    return image + 0.02 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def test_strips_that_hang_on_an_organ_go_and_the_organ_stays() -> None:
    strip = box(slice(12, 16), slice(30, 44), slice(2, 7))
    kept = SolidOrgan()(ORGAN | strip, image_of(0.3, (strip, 0.3)))
    # what is near the organ is its own border
    assert (kept & strip).sum() <= 4 * 4 * 5
    assert 2 * (kept & ORGAN).sum() / (kept.sum() + ORGAN.sum()) > 0.97


def test_thick_pieces_of_another_intensity_or_of_one_slice_go() -> None:
    bowel = box(slice(12, 26), slice(30, 44), slice(2, 7))
    image = image_of(0.3, (bowel, -0.4))
    assert not (SolidOrgan()(ORGAN | bowel, image) & bowel)[:, 35:].any()
    assert (SolidOrgan(spread=0)(ORGAN | bowel, image) & bowel)[:, 35:].any()
    thin = box(slice(8, 28), slice(6, 30), slice(8, 9))
    assert not SolidOrgan()(ORGAN | thin, image_of(0.3, (thin, 0.3)))[..., 8].any()


def test_the_smaller_of_two_pieces_goes() -> None:
    other = box(slice(8, 20), slice(34, 46), slice(2, 7))
    assert not (SolidOrgan()(ORGAN | other, image_of(0.3, (other, 0.3))) & other).any()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_volumes_of_few_slices_keep_their_organ(depth: int) -> None:
    mask = ORGAN[..., 3 : 3 + depth]
    kept = SolidOrgan()(mask, image_of(0.3)[..., 3 : 3 + depth])
    assert 2 * (kept & mask).sum() / (kept.sum() + mask.sum()) > 0.97


def test_a_mask_without_thick_piece_is_left_empty() -> None:
    for mask in (torch.zeros(SHAPE, dtype=torch.bool), box(slice(8, 11), slice(6, 40), slice(2, 7))):
        assert not SolidOrgan()(mask, torch.zeros(SHAPE)).any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.05, 0.95))
def test_nothing_is_added(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    mask = torch.from_numpy(random.random((20, 20, 5)) < share)
    kept = SolidOrgan(radius=2)(mask, torch.from_numpy(random.uniform(-1, 1, (20, 20, 5))))
    assert kept.dtype == torch.bool and not (kept & ~mask).any()


@pytest.mark.parametrize("setting", [{"radius": 1}, {"slices": 0}, {"spread": float("nan")}])
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least 2, 1 and 0"):
        SolidOrgan(**setting)  # type: ignore[arg-type]
