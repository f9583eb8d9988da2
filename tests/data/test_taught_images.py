# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from monai_semgan.data import TaughtImages
from monai_semgan.data.taught_images import agreement_of


def masks(*pixels: list[int]) -> Tensor:
    """Class indices ``(B, 1, 1, N)``."""
    return torch.tensor(pixels)[:, None, None]


def images(count: int) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [{"image": torch.rand(1, 4, 4, generator=generator) * 2 - 1} for _ in range(count)]


def above(threshold: float) -> Callable[[Tensor], Tensor]:
    """A teacher that marks what is brighter."""
    return lambda image: (image - threshold) * 10


def test_agreement_is_the_mean_dice_of_all_pairs() -> None:
    a, b, c = masks([1, 1, 0, 0]), masks([1, 0, 0, 0]), masks([1, 1, 1, 1])
    expected = (2 * 1 / 3 + 2 * 2 / 6 + 2 * 1 / 5) / 3
    torch.testing.assert_close(agreement_of([a, b, c]), torch.tensor([expected]))


def test_agreement_of_classes_counts_the_same_class_alone() -> None:
    torch.testing.assert_close(agreement_of([masks([1, 2, 0]), masks([2, 2, 0])]), torch.tensor([2 * 1 / 4]))


def test_empty_masks_and_a_single_network_agree() -> None:
    empty = masks([0, 0, 0])
    assert agreement_of([empty, empty]).tolist() == [1.0]
    assert agreement_of([masks([1, 0, 1])]).tolist() == [1.0]
    assert agreement_of([empty, masks([1, 0, 0])]).tolist() == [0.0]


@given(st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=2, max_size=4))
def test_agreement_lies_between_0_and_1_whatever_the_order(labels: list[list[int]]) -> None:
    forwards = agreement_of([masks(label) for label in labels])
    assert 0 <= forwards.item() <= 1
    torch.testing.assert_close(forwards, agreement_of([masks(label) for label in reversed(labels)]))


def test_the_label_map_is_that_of_the_mean_logits() -> None:
    data = images(5)
    taught = TaughtImages(data, {"one": above(0.0), "two": above(0.4)}, agreement=0.0, batch_size=2)
    assert len(taught) == 5
    for item, source in zip((taught[i] for i in range(5)), data):
        assert torch.equal(item["image"], source["image"])
        expected = torch.sigmoid((source["image"] - 0.2) * 10) * 2 - 1
        torch.testing.assert_close(item["label_map"], expected, rtol=0, atol=1e-3)


def test_some_teachers_only_choose() -> None:
    data = images(3)
    teachers = {"one": above(0.0), "two": above(0.4)}
    taught = TaughtImages(data, teachers, labelling=["two"], agreement=0.0)
    expected = torch.sigmoid((data[1]["image"] - 0.4) * 10) * 2 - 1
    torch.testing.assert_close(taught[1]["label_map"], expected, rtol=0, atol=1e-3)
    assert torch.equal(taught.agreements, TaughtImages(data, teachers, agreement=0.0).agreements)


def test_images_on_which_teachers_differ_are_left_out() -> None:
    data = [{"image": torch.tensor([[[0.5, 0.5, -1.0]]])}, {"image": torch.tensor([[[0.1, 0.1, 0.5]]])}]
    taught = TaughtImages(data, {"one": above(0.0), "two": above(0.3)}, agreement=0.85)
    # in the second, one sees three pixels and two one: 2 / 4
    assert len(taught) == 1 and torch.equal(taught[0]["image"], data[0]["image"])
    torch.testing.assert_close(taught.agreements, torch.tensor([1.0, 0.5]))


def test_labels_are_made_once(tmp_path: Path) -> None:
    calls = []

    def teacher(image: Tensor) -> Tensor:
        calls.append(len(image))
        return image

    path = tmp_path / "new" / "labels.pt"
    first = TaughtImages(images(3), {"it": teacher}, path=path)
    again = TaughtImages(images(3), {"it": teacher}, path=path)
    assert sum(calls) == 3 and [file.name for file in path.parent.iterdir()] == ["labels.pt"]
    assert torch.equal(first[2]["label_map"], again[2]["label_map"])
    with pytest.raises(ValueError, match="holds labels of 3 images, there are 4: delete it"):
        TaughtImages(images(4), {"it": teacher}, path=path)


def test_what_cannot_teach_is_refused() -> None:
    with pytest.raises(ValueError, match="no teacher is given"):
        TaughtImages(images(1), {})
    with pytest.raises(ValueError, match="the teachers are one: name some of them"):
        TaughtImages(images(1), {"one": above(0.0)}, labelling=["two"])
    with pytest.raises(ValueError, match="agreement is 1.5"):
        TaughtImages(images(1), {"it": above(0.0)}, agreement=1.5)
    with pytest.raises(ValueError, match="agree on none of 2 images at a Dice of 0.9"):
        TaughtImages(images(2), {"one": above(-2.0), "two": above(2.0)}, agreement=0.9)
