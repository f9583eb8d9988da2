# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_semgan.transforms import MirroredEmptySlicesd, ThinEmptySlicesd


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.floats(0, 1))
def test_keeps_all_with_a_label_and_a_share_of_the_others(shows: list[bool], share: float) -> None:
    numbers = torch.arange(len(shows)).float().expand(1, 2, 2, -1)
    label = torch.tensor(shows).float().expand(1, 2, 2, -1)
    kept = ThinEmptySlicesd(["image", "label"], share=share)({"image": numbers, "label": label})
    indices = kept["image"][0, 0, 0].long().tolist()
    assert indices == sorted(set(indices))
    assert [index for index, shown in enumerate(shows) if shown] == [index for index in indices if shows[index]]
    assert sum(not shows[index] for index in indices) == round(share * shows.count(False))
    assert torch.equal(kept["label"], label[..., indices])


def test_evenly_spaced() -> None:
    label = torch.zeros(1, 2, 2, 10)
    image = torch.arange(10.0).expand(1, 2, 2, -1)
    kept = ThinEmptySlicesd(["image", "label"], share=0.2)({"image": image, "label": label})
    assert kept["image"][0, 0, 0].tolist() == [2, 7]


def test_items_without_label_keep_all_and_the_share_is_checked() -> None:
    item = {"image": torch.zeros(1, 2, 2, 3)}
    assert ThinEmptySlicesd(["image", "label"], share=0)(item)["image"].shape[-1] == 3
    with pytest.raises(ValueError, match="share is 1.5"):
        ThinEmptySlicesd("image", share=1.5)


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
