# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_semgan.transforms import MirroredEmptySlicesd

SIDE = 24


def slice_of(first: int, last: int, organ: range) -> tuple[torch.Tensor, torch.Tensor]:
    """A body from column to column, all its columns different, and an organ in some of them."""
    image, label = torch.full((1, SIDE, SIDE, 1), -1.0), torch.zeros(1, SIDE, SIDE, 1)
    image[:, 4:20, first : last + 1] = torch.linspace(-0.5, 0.5, last - first + 1)[:, None]
    label[:, 6:10, organ.start : organ.stop] = 1
    return image, label


def mirror(image: torch.Tensor, label: torch.Tensor, margin: int = 2) -> dict[str, torch.Tensor]:
    return MirroredEmptySlicesd(["image", "label"], margin=margin)({"image": image, "label": label})  # type: ignore


@given(st.integers(0, 8), st.integers(14, SIDE - 1), st.booleans())
def test_the_side_without_organ_is_kept_and_mirrored(first: int, last: int, left: bool) -> None:
    image, label = slice_of(first, last, range(first, first + 1) if left else range(last, last + 1))
    out = mirror(image, label)
    assert out["image"].shape[-1] == out["label"].shape[-1] == 2
    assert torch.equal(out["image"][..., :1], image) and torch.equal(out["label"][..., :1], label)
    added = out["image"][..., 1]
    assert not out["label"][..., 1].any()
    body = added[:, :, first : last + 1]
    assert torch.equal(body, body.flip(-1))
    half = slice((first + last + 1) // 2, last + 1) if left else slice(first, (first + last) // 2 + 1)
    assert torch.equal(added[..., half], image[..., half, 0])
    assert (added[..., :first] == -1).all() and (added[..., last + 1 :] == -1).all()


def test_an_organ_that_reaches_the_middle_gives_nothing() -> None:
    # the middle of columns 4 to 19 is 11.5
    for stop, margin, slices in ((10, 2, 2), (11, 2, 1), (11, 1, 2), (15, 0, 1)):
        assert mirror(*slice_of(4, 19, range(5, stop)), margin)["image"].shape[-1] == slices
    # nor does a slice without organ, or without body
    image, label = slice_of(4, 19, range(0))
    assert mirror(image, label)["image"].shape[-1] == 1
    assert mirror(torch.full_like(image, -1.0), label + 1)["image"].shape[-1] == 1


def test_items_without_label_stay_and_settings_are_checked() -> None:
    item = {"image": slice_of(4, 19, range(5, 7))[0]}
    assert MirroredEmptySlicesd(["image", "label"])(item)["image"].shape[-1] == 1
    with pytest.raises(ValueError, match="margin is -1"):
        MirroredEmptySlicesd(["image", "label"], margin=-1)
    with pytest.raises(ValueError, match="name label among them"):
        MirroredEmptySlicesd("image")
