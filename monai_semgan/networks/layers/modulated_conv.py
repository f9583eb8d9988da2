# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Modulated convolution of StyleGAN2 (Karras et al., CVPR 2020, arXiv:1912.04958, section 2.2)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_semgan.networks.layers.equalized import EqualizedLinear
from monai_semgan.networks.layers.fir import FIRFilter


class ModulatedConv2d(nn.Module):
    r"""Convolution whose input channels are scaled by a style and whose output channels are rescaled to unit variance.

    With the style :math:`s = A w` and the weights :math:`v`, equations (1) and (3) of the paper read
    :math:`v'_{oik} = s_i v_{oik}` and :math:`v''_{oik} = v'_{oik} / \sqrt{\sum_{i,k} v'^2_{oik} + \epsilon}`.
    Both factors are constant over the picture, so the same result comes from scale, convolve, scale with one weight
    shared by the batch, which is faster than a grouped convolution with a weight per image.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        kernel_size: side of the square kernel, odd, and 3 with ``upsample``.
        latent_dim: length of a W code.
        demodulate: whether to apply equation (3); output branches (tImage, tSeg) do not.
        upsample: whether to double the resolution by a transposed convolution followed by the FIR filter.

    Raises:
        ValueError: for a kernel size that does not keep the resolution or double it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        latent_dim: int,
        *,
        demodulate: bool = True,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0 or (upsample and kernel_size != 3):
            raise ValueError(f"kernel_size is {kernel_size}, it must be odd, and 3 with upsample")
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.scale = 1.0 / math.sqrt(in_channels * kernel_size**2)
        self.style = EqualizedLinear(latent_dim, in_channels, bias_init=1.0)
        self.fir = FIRFilter()
        self.padding = kernel_size // 2
        self.demodulate = demodulate
        self.upsample = upsample

    def forward(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve and return the output before demodulation with the factor that demodulates it.

        The factor is handed out rather than applied so that the caller fuses it with bias and gain.

        Args:
            x: features, ``(B, in_channels, H, W)``.
            w: one code per image, ``(B, latent_dim)``.

        Returns:
            The features ``(B, out_channels, H', W')``, twice the resolution with ``upsample``, and the demodulation
            factor ``(B, out_channels, 1, 1)``, all ones without ``demodulate``.
        """
        style = self.style(w)
        weight = self.weight * self.scale
        x = x * style.to(x.dtype)[:, :, None, None]
        if self.upsample:
            x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            x = self.fir(x, padding=1, gain=4.0)
        else:
            x = F.conv2d(x, weight, padding=self.padding)
        if not self.demodulate:
            return x, torch.ones_like(x[:, :, :1, :1])
        # elementwise product and sum, because a matrix product would be autocast to bf16
        power = (style.float().square()[:, None, :] * weight.float().square().sum((2, 3))[None]).sum(2)
        return x, torch.rsqrt(power + 1e-8)[:, :, None, None]
