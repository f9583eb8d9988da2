# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A student that learns new labels beside the encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from monai_semgan.engines.extension import Answer, EncoderExtension, SemiSupervisedBatch
from monai_semgan.networks.label_map import logits_to_map, map_to_label
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation


class TunedStudent(EncoderExtension):
    """Let the network's student learn the pairs, and keep to what its average says of the other images.

    For fine-tuning, after which student and generator have to know the same labels. Without a student nothing is done.
    Ablation row: student.

    Args:
        lr: learning rate of the student.
        augmentation: changes of what the student sees of images; its geometric settings must be 0.
        weight: weight of its loss.

    Raises:
        ValueError: for a negative rate, or when the augmentation moves the image.
    """

    loss_name = "student_segmentation"

    def __init__(self, *, lr: float, augmentation: DifferentiableAugmentation, weight: float = 1.0) -> None:
        if lr < 0:
            raise ValueError(f"lr {lr} must not be negative")
        if augmentation.moves:
            raise ValueError("augmentation moves the image but not its label: leave scale, stretch, shift, rotate at 0")
        self.lr = lr
        self.augmentation = augmentation
        self.weight = weight

    def parameter_groups(self, trainer: Any) -> list[dict[str, Any]]:
        """The student's weights."""
        student = trainer.network.student
        return [] if student is None or not self.lr else [{"params": list(student.parameters()), "lr": self.lr}]

    def loss(self, batch: SemiSupervisedBatch, answers: dict[str, Answer]) -> Tensor | None:
        """Dice and cross entropy of the pairs, and of the images against the average student's label."""
        student, average = self.trainer.network.student, self.trainer.ema.average.student
        if student is None:
            return None
        pairs, images = batch.pairs, batch.images
        assert pairs.label_map is not None
        with torch.no_grad():
            kept = map_to_label(logits_to_map(average(images.image)))
        seen = self.augmentation(torch.cat([pairs.image, images.image]))[0]
        label = torch.cat([map_to_label(pairs.label_map), kept])
        # each on its own: the few pairs weigh as much as all else
        logits = student(seen).split([len(pairs.image), len(images.image)])
        labels = label.split([len(pairs.image), len(images.image)])
        return sum(self.trainer.loss.segment(*both) for both in zip(logits, labels))  # type: ignore[return-value]
