# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Loss of the encoder (Li et al., CVPR 2021, arXiv:2104.05833, equations (4) to (6))."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from monai.losses import DiceCELoss
from monai.networks import one_hot
from torch import Tensor, nn

from monai_semgan.losses.perceptual import PerceptualDistance
from monai_semgan.losses.reconstruction import ReconstructionLoss
from monai_semgan.networks.nets import SemanticGAN


class EncoderLossTerms(NamedTuple):
    """Scalar terms of the encoder's loss, weights applied."""

    total: Tensor
    segmentation: Tensor
    reconstruction: Tensor


class EncoderLoss(nn.Module):
    r"""Dice and cross entropy on labelled pairs (4) plus reconstruction of all images (5), their sum (6).

    One label channel is binary (sigmoid), more are exclusive classes (softmax).

    Args:
        perceptual: kind of the perceptual distance, or a :class:`PerceptualDistance` with settings of its own.
        dice_weight: weight of the Dice loss.
        cross_entropy_weight: weight of the cross entropy.
        perceptual_weight: weight of the perceptual distance.
        l2_weight: weight of the mean squared error, :math:`\lambda_1`.
    """

    def __init__(
        self,
        perceptual: str | PerceptualDistance = "encoder",
        *,
        dice_weight: float = 1.0,
        cross_entropy_weight: float = 1.0,
        perceptual_weight: float = 1.0,
        l2_weight: float = 0.1,
    ) -> None:
        super().__init__()
        self.binary = DiceCELoss(sigmoid=True, lambda_dice=dice_weight, lambda_ce=cross_entropy_weight)
        self.multiclass = DiceCELoss(softmax=True, lambda_dice=dice_weight, lambda_ce=cross_entropy_weight)
        self.reconstruction = ReconstructionLoss(perceptual, perceptual_weight=perceptual_weight, l2_weight=l2_weight)

    def forward(
        self,
        reconstruction: Tensor,
        image: Tensor,
        network: SemanticGAN | None = None,
        logits: Tensor | None = None,
        label: Tensor | None = None,
    ) -> EncoderLossTerms:
        """Compute the loss of a batch.

        Args:
            reconstruction: images drawn from the encoder's codes, labelled and unlabelled ones, ``(B, C, H, W)``.
            image: the images encoded, in [-1, 1], ``(B, C, H, W)``.
            network: the network in training, for the perceptual distance ``"encoder"``. Its weights get no gradient
                from there: features that chase their own distance would collapse.
            logits: label logits of the labelled images, ``(B', L, H, W)``, if there are any.
            label: their labels, zeros and ones ``(B', L, H, W)``, or class indices ``(B', 1, H, W)``.

        Returns:
            The total and its terms.

        Raises:
            ValueError: when only one of ``logits`` and ``label`` is given.
        """
        if (logits is None) != (label is None):
            raise ValueError("logits and label must be given together, for the labelled images of the batch")
        with frozen(*([] if network is None else [network])):
            rebuilt = self.reconstruction(reconstruction, image, network).mean()
        segmentation = rebuilt.new_zeros(()) if logits is None or label is None else self.segment(logits, label)
        return EncoderLossTerms(segmentation + rebuilt, segmentation, rebuilt)

    def segment(self, logits: Tensor, label: Tensor) -> Tensor:
        """Dice and cross entropy of labelled pairs."""
        classes = logits.shape[1]
        if classes == 1:
            return self.binary(logits.float(), label.float())
        if label.shape[1] == 1:
            label = one_hot(label, classes)
        return self.multiclass(logits.float(), label.float())


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Keep gradients out of the networks' weights; they still flow through to the input."""
    weights = [weight for network in networks for weight in network.parameters() if weight.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)
