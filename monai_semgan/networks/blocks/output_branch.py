# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Output branches tImage and tSeg (Li et al., CVPR 2021, arXiv:2104.05833, figure 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_semgan.networks.layers.modulated_conv import ModulatedConv2d


class OutputBranch(nn.Module):
    """Modulated 1x1 convolution without demodulation from features to image or label channels.

    Args:
        in_channels: number of feature channels.
        out_channels: number of image or label channels.
        latent_dim: length of a W code.
    """

    def __init__(self, in_channels: int, out_channels: int, latent_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, out_channels, 1, latent_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map features ``(B, in_channels, H, W)`` and codes ``(B, latent_dim)`` to ``(B, out_channels, H, W)``."""
        weight = self.conv.weight.flatten(1) * self.conv.scale * self.conv.style(w)[:, None, :]
        # with few outputs, a product with each image's own weights is faster than a scaled copy of all features; its
        # gradient has their channels-last layout
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
        maps = torch.bmm(pixels, weight.to(x.dtype).transpose(1, 2)) + self.bias.to(x.dtype)
        return maps.transpose(1, 2).reshape(x.shape[0], -1, x.shape[2], x.shape[3])
