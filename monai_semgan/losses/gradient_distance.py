# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Distance of the edges of two images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from monai_semgan.losses.perceptual import PerceptualDistance
from monai_semgan.networks.nets import SemanticGAN


class GradientDistance(PerceptualDistance):
    r"""L1 distance of the gradients of two images, which blurred or shifted edges raise and an even shade does not.

    .. math:: d(x, x^*) = \tfrac{1}{2} \sum_{a \in \{h, w\}} \operatorname{mean} |\partial_a x - \partial_a x^*|

    with forward differences :math:`\partial_a` in grey levels a pixel (after Mathieu et al., ICLR 2016,
    arXiv:1511.05440, section 3.2, with the gradients' signs). It takes the place of a perceptual distance and needs no
    network: ``ReconstructionLoss(GradientDistance())``, ``EncoderLoss(GradientDistance())``.
    """

    def __init__(self) -> None:
        super().__init__("none")
        self.kind = "gradient"

    def features(
        self, image: Tensor, network: SemanticGAN | None = None, maps: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Forward differences of images ``(B, C, H, W)`` down, ``(B, C, H-1, W)``, and to the right."""
        return [image.float().diff(dim=2), image.float().diff(dim=3)]

    def forward(
        self,
        image: Tensor,
        features: Sequence[Tensor],
        network: SemanticGAN | None = None,
        maps: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Distances ``(B,)`` of images ``(B, C, H, W)`` to targets whose :meth:`features` are given."""
        down, right = ((a - b).abs().mean((1, 2, 3)) for a, b in zip(self.features(image), features, strict=True))
        return (down + right) / 2
