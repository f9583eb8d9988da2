# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Augmentation of what networks see in a training (adaptive: Karras et al., NeurIPS 2020, arXiv:2006.06676)."""

from __future__ import annotations

from torch import Tensor

from monai_semgan.engines.extension import EncoderExtension, GANExtension, SemiSupervisedBatch
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation


class AdaptiveAugmentation(GANExtension):
    """Augment real and drawn images for D_r by an adaptive strength, and pairs for D_m by a strength of their own.

    Discriminators then do not learn few images by heart, and the generator does not learn the augmentation. Ablation
    row: augmentation.

    Args:
        image: augmentation of all that D_r sees.
        pair: the same for D_m, which sees few pairs again and again and needs more of it; none by default.
        real_sign_target: mean sign of D_r on real images at which the p of ``image`` stays put; above it p grows
            (equation 1 of the reference). None keeps p.
        adaptation_images: number of images in which p can move by 1.

    Raises:
        ValueError: when ``adaptation_images`` is below 1.
    """

    def __init__(
        self,
        image: DifferentiableAugmentation,
        pair: DifferentiableAugmentation | None = None,
        *,
        real_sign_target: float | None = None,
        adaptation_images: int = 100_000,
    ) -> None:
        if adaptation_images < 1:
            raise ValueError(f"adaptation_images is {adaptation_images}, it must be at least 1")
        self.image = image
        self.pair = pair or DifferentiableAugmentation()
        self.real_sign_target = real_sign_target
        self.adaptation_images = adaptation_images

    @property
    def checkpoint(self) -> DifferentiableAugmentation:
        """The augmentation whose p adapts."""
        return self.image

    @property
    def changing_buffers(self) -> list[Tensor]:
        """P."""
        return [self.image.p]

    def show_image(self, image: Tensor) -> Tensor:
        """Augment images."""
        return self.image(image)[0]

    def show_pair(self, image: Tensor, label_map: Tensor) -> tuple[Tensor, Tensor]:
        """Augment images and label maps alike."""
        return self.pair(image, label_map)

    def follow(self, losses: dict[str, float], images: int) -> dict[str, float]:
        """Move p by the sign of D_r on real images."""
        if self.real_sign_target is not None:
            move = images / self.adaptation_images * (1 if losses["real_sign"] > self.real_sign_target else -1)
            self.image.p.add_(move).clamp_(0.0, 1.0)
        return {"augment_p": float(self.image.p)}


class Jitter(GANExtension, EncoderExtension):
    """Augment images and pairs, whose label maps move with them, before anything is computed of them.

    The generator is meant to learn such images, and the encoder's loss asks for them. Ablation row: jitter.

    Args:
        augmentation: how images vary within the population.
    """

    def __init__(self, augmentation: DifferentiableAugmentation) -> None:
        self.augmentation = augmentation

    def prepare(self, batch: SemiSupervisedBatch) -> None:
        """Augment both streams."""
        for part in (batch.images, batch.pairs):
            part.image, part.label_map = self.augmentation(part.image, part.label_map)
