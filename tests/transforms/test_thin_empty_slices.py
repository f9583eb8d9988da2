# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_semgan.transforms import ThinEmptySlicesd


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
