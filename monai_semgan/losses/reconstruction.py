# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Reconstruction loss (Li et al., CVPR 2021, arXiv:2104.05833, equations (5) and (7))."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_semgan.losses.perceptual import PerceptualDistance
from monai_semgan.networks.nets import SemanticGAN


class ReconstructionLoss(nn.Module):
    r"""Perceptual distance plus squared error, :math:`\lambda_p d(x, x^*) + \lambda_2 \|x - x^*\|_2^2 / n`, per image.

    Args:
        perceptual: kind of the perceptual distance, or a :class:`PerceptualDistance` with settings of its own.
        perceptual_weight: weight of the perceptual distance, 0 skips it.
        l2_weight: weight of the squared error, averaged over channels and pixels.

    Raises:
        ValueError: for negative weights, or when nothing is left to compare.
    """

    def __init__(
        self,
        perceptual: str | PerceptualDistance = "encoder",
        *,
        perceptual_weight: float = 1.0,
        l2_weight: float = 0.1,
    ) -> None:
        super().__init__()
        if perceptual_weight == 0:
            perceptual = "none"
        self.distance = PerceptualDistance(perceptual) if isinstance(perceptual, str) else perceptual
        if perceptual_weight < 0 or l2_weight < 0 or (self.distance.kind == "none" and l2_weight == 0):
            raise ValueError(
                f"perceptual_weight {perceptual_weight} and l2_weight {l2_weight} must not be negative, and one must "
                f"be positive (l2_weight for the perceptual distance {self.distance.kind!r})"
            )
        self.perceptual_weight = perceptual_weight
        self.l2_weight = l2_weight

    @torch.no_grad()
    def features(self, image: Tensor, network: SemanticGAN | None = None) -> list[Tensor]:
        """Features of target images without gradients, for many calls with the same targets."""
        return self.distance.features(image, network)

    def forward(
        self,
        reconstruction: Tensor,
        image: Tensor,
        network: SemanticGAN | None = None,
        features: Sequence[Tensor] | None = None,
        maps: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Compare reconstructions with their targets.

        Args:
            reconstruction: generated images, ``(B, C, H, W)``.
            image: target images in [-1, 1], ``(B, C, H, W)``.
            network: the network whose encoder gives the features of the perceptual distance ``"encoder"``.
            features: :meth:`features` of the targets; computed when not given.
            maps: what the encoder's backbone gives for the reconstructions, of a caller who has it.

        Returns:
            Losses in fp32, ``(B,)``.

        Raises:
            ValueError: when the shapes differ.
        """
        if reconstruction.shape != image.shape:
            raise ValueError(
                f"reconstruction has shape {list(reconstruction.shape)} and image {list(image.shape)}: they must agree"
            )
        if features is None:
            features = self.features(image, network)
        squared = (reconstruction.float() - image.float()).square().mean((1, 2, 3))
        distance = self.distance(reconstruction, features, network, maps)
        return self.perceptual_weight * distance + self.l2_weight * squared
