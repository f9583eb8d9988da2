# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Labels of unlabelled images from a teacher (Tarvainen and Valpola, NeurIPS 2017, arXiv:1703.01780)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from monai_semgan.engines.extension import Answer, EncoderExtension, SemiSupervisedBatch
from monai_semgan.networks.label_map import logits_to_map, map_to_label


class Teacher(EncoderExtension):
    """Learn the label that a teacher gives to an unlabelled image; a mean teacher by default.

    Given before :class:`Jitter`, the teacher sees images unmoved and its label moves with them. Ablation row: teacher.

    Args:
        network: network from images to label logits; by default the average of the weights in training.
        weight: weight of the segmentation loss against the teacher's label.
    """

    loss_name = "taught_segmentation"

    def __init__(self, network: nn.Module | None = None, *, weight: float = 1.0) -> None:
        self.network = network
        self.weight = weight

    def attach(self, trainer: Any) -> None:
        """Freeze the teacher."""
        super().attach(trainer)
        if self.network is not None:
            self.network.eval().requires_grad_(False)

    @torch.no_grad()
    def teach(self, image: Tensor) -> Tensor:
        """Label map of images, in [-1, 1]."""
        network = self.trainer.ema.average if self.network is None else self.network
        with self.trainer.autocast():
            return logits_to_map(network(image)).float()

    def prepare(self, batch: SemiSupervisedBatch) -> None:
        """Give the images their labels."""
        batch.images.label_map = self.teach(batch.images.image)

    def loss(self, batch: SemiSupervisedBatch, answers: dict[str, Answer]) -> Tensor:
        """Dice and cross entropy of the images."""
        assert batch.images.label_map is not None
        return self.trainer.loss.segment(answers["images"].logits, map_to_label(batch.images.label_map))
