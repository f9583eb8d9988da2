# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Layers with an equalised learning rate (Karras et al., ICLR 2018, arXiv:1710.10196, section 4.1)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EqualizedLinear(nn.Module):
    """Fully connected layer whose weights are drawn from N(0, 1) and scaled by 1/sqrt(fan in) at run time.

    Args:
        in_features: number of input features.
        out_features: number of output features.
        bias_init: initial value of the bias.
        lr_multiplier: factor on the effective learning rate, e.g. 0.01 in the mapping network.
    """

    def __init__(
        self, in_features: int, out_features: int, *, bias_init: float = 0.0, lr_multiplier: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_multiplier))
        self.scale = lr_multiplier / math.sqrt(in_features)
        self.lr_multiplier = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        return F.linear(x, self.weight * self.scale, self.bias * self.lr_multiplier)


class EqualizedConv2d(nn.Module):
    """2-D convolution whose weights are drawn from N(0, 1) and scaled by 1/sqrt(fan in) at run time.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        kernel_size: side of the square kernel.
        stride: stride of the convolution.
        padding: zero padding on each side.
        bias: whether to add a bias, zero at the start.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.scale = 1.0 / math.sqrt(in_channels * kernel_size**2)
        self.stride = stride
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, H', W')``."""
        if self.weight.shape[2] == 1 and self.stride == 1 and self.padding == 0:
            # a matrix product over the channels: convolutions of one input channel lose the channels_last layout
            return F.linear(x.movedim(1, 3), self.weight.flatten(1) * self.scale, self.bias).movedim(3, 1)
        return F.conv2d(x, self.weight * self.scale, self.bias, stride=self.stride, padding=self.padding)
