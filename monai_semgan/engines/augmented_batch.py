# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Augmentation of whole batches for MONAI's supervised trainer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from monai_semgan.networks.label_map import label_to_map, map_to_label
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation


class AugmentedBatch:
    """A ``prepare_batch`` that augments as :class:`monai_semgan.engines.EncoderTrainer` does, for fair comparisons.

    Args:
        jitter: geometric augmentation, which image and label share.
        augmentation: augmentation of the image.
        label_channels: number of label channels, 1 for a binary mask.
    """

    def __init__(
        self,
        jitter: DifferentiableAugmentation | None = None,
        augmentation: DifferentiableAugmentation | None = None,
        label_channels: int = 1,
    ) -> None:
        self.jitter = jitter or DifferentiableAugmentation()
        self.augmentation = augmentation or DifferentiableAugmentation()
        self.label_channels = label_channels

    def __call__(
        self, batchdata: dict[str, Tensor], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            batchdata: "image" ``(B, C, S, S)`` in [-1, 1] and "label" with class indices ``(B, 1, S, S)``.
            device: device to move the batch to.
            non_blocking: whether the move may be asynchronous.
            kwargs: further arguments of ``Tensor.to``.

        Returns:
            Images, and labels with class indices.
        """
        image = batchdata["image"].to(device, non_blocking=non_blocking, **kwargs)
        label = batchdata["label"].to(device, non_blocking=non_blocking, **kwargs)
        image, label_map = self.jitter.to(device)(image, label_to_map(label, self.label_channels))
        assert label_map is not None
        return self.augmentation.to(device)(image)[0], map_to_label(label_map)
