# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Style block of StyleGAN2 (Karras et al., CVPR 2020, arXiv:1912.04958, figure 2)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_semgan.networks.layers.modulated_conv import ModulatedConv2d


class StyleBlock(nn.Module):
    """Modulated 3x3 convolution, noise of learned strength, bias and leaky ReLU (slope 0.2, gain sqrt 2).

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        latent_dim: length of a W code.
        side: side of the output in pixels.
        upsample: whether the block doubles the resolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, latent_dim: int, side: int, *, upsample: bool = False
    ) -> None:
        super().__init__()
        self.side = side
        self.conv = ModulatedConv2d(in_channels, out_channels, 3, latent_dim, upsample=upsample)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.fixed_noise: Tensor
        self.register_buffer("fixed_noise", torch.randn(1, 1, side, side))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """Apply the block.

        Args:
            x: features, ``(B, in_channels, H, W)``.
            w: one code per image, ``(B, latent_dim)``.
            noise: unit normal noise, ``(B or 1, 1, side, side)``; by default the block's fixed map.

        Returns:
            Features ``(B, out_channels, side, side)``.

        Raises:
            ValueError: when the noise has another shape.
        """
        if noise is None:
            noise = self.fixed_noise
        elif list(noise.shape[1:]) != [1, self.side, self.side]:
            raise ValueError(f"noise has shape {list(noise.shape)}, expected (batch or 1, 1, {self.side}, {self.side})")
        x, demodulation = self.conv(x, w)
        # the activation is positively homogeneous, so its gain moves into the small tensors before it
        gain = math.sqrt(2.0)
        x = torch.addcmul((self.bias * gain).to(x.dtype)[:, None, None], x, (demodulation * gain).to(x.dtype))
        x = x + (noise * (self.noise_strength * gain)).to(x.dtype)
        return F.leaky_relu(x, 0.2)
