# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Path length regularisation of the generator (Karras et al., CVPR 2020, arXiv:1912.04958, section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class PathLengthPenalty(nn.Module):
    r"""Keep the length of :math:`J_w^T y` near its running mean, :math:`E (\|J_w^T y\|_2 - a)^2`.

    :math:`J_w` is the Jacobian of the image with respect to its W+ codes and y is unit normal noise divided by the
    square root of the number of pixels. With W+ codes the squared length is averaged over the codes.

    Args:
        weight: weight of the penalty.
        decay: rate at which the running mean a moves to the mean of the batch.
    """

    def __init__(self, weight: float = 2.0, decay: float = 0.01) -> None:
        super().__init__()
        if weight < 0 or not 0 < decay <= 1:
            raise ValueError(f"weight {weight} must not be negative and decay {decay} must lie in (0, 1]")
        self.weight = weight
        self.decay = decay
        self.mean_length: Tensor
        self.register_buffer("mean_length", torch.zeros(()))

    def forward(self, image: Tensor, wplus: Tensor) -> Tensor:
        """Compute the penalty with a graph for the second derivative and move the running mean.

        Args:
            image: images drawn from ``wplus``, ``(B, C, H, W)``.
            wplus: W+ codes with ``requires_grad``, ``(B, N, D)``.

        Returns:
            A scalar.
        """
        noise = torch.randn_like(image) / math.sqrt(image.shape[2] * image.shape[3])
        (gradient,) = torch.autograd.grad((image * noise).sum(), wplus, create_graph=True)
        lengths = gradient.square().sum(2).mean(1).sqrt()
        self.mean_length.lerp_(lengths.detach().mean(), self.decay)
        return self.weight * (lengths - self.mean_length).square().mean()
