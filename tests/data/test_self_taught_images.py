# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_semgan.data import SelfTaughtImages, SemiSupervisedLoader


def volumes(count: int, depth: int = 3) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [{"image": torch.rand(1, 8, 8, depth, generator=generator) * 1.9 - 0.95} for _ in range(count)]


def items(taught: SelfTaughtImages) -> list[dict[str, Tensor]]:
    return [taught[index] for index in range(len(taught))]


def bright(image: Tensor) -> Tensor:
    """A network that marks what is bright, with a soft border."""
    return image * 10


def test_volumes_become_slices_with_the_label_map_of_the_mean_of_the_answers() -> None:
    data = volumes(2)
    taught = SelfTaughtImages(data, bright, gammas=(0.5, 2.0), agreement=0.0)
    assert len(taught) == 6
    scaled = (data[1]["image"][..., 2] + 1) / 2
    logits = 10 * (scaled.sqrt() + scaled.square() - 1)
    torch.testing.assert_close(taught[5]["image"], data[1]["image"][..., 2])
    torch.testing.assert_close(taught[5]["label_map"], logits.sigmoid() * 2 - 1, atol=1e-3, rtol=0)
    assert taught[5]["label_map"].dtype == torch.float32
    assert taught[5]["label"].equal((logits > 0).to(torch.uint8))


def test_pictures_stay_whole() -> None:
    picture = {"image": volumes(1)[0]["image"][..., 0]}
    taught = SelfTaughtImages([picture], bright, gammas=(1.0,))
    assert len(taught) == 1 and taught[0]["label_map"].shape == (1, 8, 8)


def test_agreement_is_the_mean_dice_with_the_result_and_the_others_are_left_out() -> None:
    sure, unsure = torch.full((1, 4, 4, 2), -0.9), torch.full((1, 4, 4, 2), -0.9)
    sure[:, :2], unsure[:, :2] = 0.9, 0.1
    unsure[:, 2:3] = 0.05
    taught = SelfTaughtImages([{"image": unsure}, {"image": sure}], bright, gammas=(1.0, 2.0), agreement=0.9)
    # darkened, the unsure one is all background: Dice 0 with the result, or with the other answer
    assert taught.agreements[0] <= 0.5 and taught.agreements[1] == 1.0 and len(taught) == 2
    torch.testing.assert_close(taught[0]["image"], sure[..., 0])


def test_what_is_cleaned_away_becomes_background() -> None:
    data = volumes(1)

    def left_half(mask: Tensor, image: Tensor) -> Tensor:
        assert mask.shape == image.shape == (8, 8, 3)
        return mask & (torch.arange(8)[None, :, None] < 4)

    taught = SelfTaughtImages(data, bright, gammas=(1.0,), clean=left_half, agreement=0.0)
    for index in range(3):
        item, image = taught[index], data[0]["image"][..., index]
        assert (item["label_map"][..., 4:] == -1).all() and not item["label"][..., 4:].any()
        assert item["label"][..., :4].equal((image[..., :4] > 0).to(torch.uint8))


def test_classes_are_cleaned_one_by_one() -> None:
    data = volumes(1)

    def three(image: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(image), image, -image], dim=1) * 10

    def nothing_dark(mask: Tensor, image: Tensor) -> Tensor:
        return mask & (image > 0)

    taught = SelfTaughtImages(data, three, gammas=(1.0,), clean=nothing_dark, agreement=0.0)
    image = torch.stack([item["image"] for item in items(taught)])
    label_map = torch.stack([item["label_map"] for item in items(taught)])
    assert torch.stack([item["label"] for item in items(taught)]).equal((image > 0).to(torch.uint8))
    assert (label_map.movedim(1, -1)[image[:, 0] < 0] == torch.tensor([1.0, -1.0, -1.0])).all()


def test_images_feed_both_streams_of_a_training() -> None:
    taught = SelfTaughtImages(volumes(1), bright, gammas=(1.0,))
    batch = next(iter(SemiSupervisedLoader(items(taught), items(taught), batch_size=2, pair_batch_size=1, steps=1)))
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "image": (2, 1, 8, 8),
        "label_map": (2, 1, 8, 8),
        "pair_image": (1, 1, 8, 8),
        "pair_label": (1, 1, 8, 8),
    }


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="at least one"):
        SelfTaughtImages(volumes(1), bright, gammas=())
    with pytest.raises(ValueError, match="agreement is 2"):
        SelfTaughtImages(volumes(1), bright, agreement=2)
    with pytest.raises(ValueError, match="lower agreement"):
        SelfTaughtImages(volumes(1), bright, clean=lambda mask, image: mask & False)
