# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch

from monai_semgan.engines import AugmentedBatch
from monai_semgan.transforms import DifferentiableAugmentation

CPU = torch.device("cpu")


def test_without_augmentation_the_batch_comes_back() -> None:
    batch = {"image": torch.rand(2, 1, 8, 8), "label": torch.randint(3, (2, 1, 8, 8)).float()}
    image, label = AugmentedBatch(label_channels=3)(batch, CPU, False)
    assert torch.equal(image, batch["image"])
    assert torch.equal(label, batch["label"])


def test_the_label_moves_with_the_image_and_keeps_its_values() -> None:
    label = torch.zeros(4, 1, 32, 32)
    label[:, :, 8:20, 6:18] = 1
    jitter = DifferentiableAugmentation(shift=0.2, rotate=30, scale=0.2)
    image, moved = AugmentedBatch(jitter)({"image": label * 2 - 1, "label": label}, CPU)
    assert not torch.equal(moved, label)
    assert torch.equal(moved, (image > 0).float())


def test_the_augmentation_leaves_the_label_alone() -> None:
    batch = {"image": torch.rand(2, 1, 8, 8), "label": torch.ones(2, 1, 8, 8)}
    image, label = AugmentedBatch(augmentation=DifferentiableAugmentation(brightness=0.5))(batch, CPU)
    assert not torch.equal(image, batch["image"])
    assert torch.equal(label, batch["label"])
