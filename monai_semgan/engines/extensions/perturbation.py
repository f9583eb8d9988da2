# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Perturbation of what the encoder sees."""

from __future__ import annotations

from torch import Tensor

from monai_semgan.engines.extension import EncoderExtension
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation


class Perturbation(EncoderExtension):
    """Show the encoder changed images while the loss asks for the clean ones: other scanners, other exposures.

    Ablation row: perturbation.

    Args:
        augmentation: the change; its geometric settings must be 0.

    Raises:
        ValueError: when the augmentation moves the image.
    """

    def __init__(self, augmentation: DifferentiableAugmentation) -> None:
        if augmentation.moves:
            raise ValueError(
                "augmentation moves the image but not its target: put scale, stretch, shift and rotate into jitter"
            )
        self.augmentation = augmentation

    def perturb(self, image: Tensor) -> Tensor:
        """Change images."""
        return self.augmentation(image)[0]
