# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch

from monai_semgan.data import SliceDataset


def test_volumes_are_read_once_and_taken_apart() -> None:
    volumes = [torch.rand(1, 4, 4, depth) for depth in (3, 1, 2)]
    read = []

    def load(index: int) -> dict[str, torch.Tensor]:
        read.append(index)
        return {"image": volumes[index], "label": volumes[index] > 0.5}

    slices = SliceDataset([0, 1, 2], load)
    assert len(slices) == 6
    for item, image in zip(slices, torch.cat(volumes, -1).unbind(-1), strict=True):
        assert torch.equal(item["image"], image) and torch.equal(item["label"], image > 0.5)
        assert item["image"].is_contiguous()
    assert sorted(read) == [0, 1, 2]


def test_images_stay_as_they_are() -> None:
    items = [{"image": torch.rand(3, 4, 5)} for _ in range(2)]
    slices = SliceDataset(items)
    assert [torch.equal(mine["image"], item["image"]) for mine, item in zip(slices, items, strict=True)] == [True] * 2
