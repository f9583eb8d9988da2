# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Residual block of the StyleGAN2 discriminator (Karras et al., CVPR 2020, arXiv:1912.04958, figure 7)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from monai_semgan.networks.layers.equalized import EqualizedConv2d
from monai_semgan.networks.layers.fir import FIRFilter


class ResidualDownBlock(nn.Module):
    """Two 3x3 convolutions with leaky ReLU, the second halving the resolution, plus a 1x1 skip; scaled by 1/sqrt 2.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = EqualizedConv2d(in_channels, in_channels, 3, padding=1)
        self.conv2 = EqualizedConv2d(in_channels, out_channels, 3, stride=2)
        self.skip = EqualizedConv2d(in_channels, out_channels, 1, bias=False)
        self.fir = FIRFilter()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, H/2, W/2)``."""
        residual = F.leaky_relu(self.conv1(x), 0.2) * math.sqrt(2.0)
        # gain sqrt 2 of the activation and 1/sqrt 2 of the sum cancel on this path
        residual = F.leaky_relu(self.conv2(self.fir(residual, padding=2)), 0.2)
        return residual + self.skip(self.fir.downsample(x)) * math.sqrt(0.5)
