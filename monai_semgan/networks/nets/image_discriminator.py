# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Image discriminator D_r: the residual discriminator of StyleGAN2 (arXiv:1912.04958)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from monai_semgan.networks.blocks.residual_block import ResidualDownBlock
from monai_semgan.networks.layers.equalized import EqualizedConv2d, EqualizedLinear
from monai_semgan.networks.layers.minibatch_stddev import MinibatchStdDev
from monai_semgan.networks.nets.semantic_generator import check_size, check_width


class ImageDiscriminator(nn.Module):
    """Judge images alone: residual blocks down to 4x4, minibatch standard deviation, two linear layers.

    Args:
        size: side of the square images in pixels, a power of two from 16.
        in_channels: number of image channels.
        channel_base: a resolution r has min(channel_base / r, channel_max) feature channels.
        channel_max: largest number of feature channels.
        group_size: largest group of the minibatch standard deviation; any batch size works.

    Raises:
        ValueError: for a size or a width that cannot work.
    """

    def __init__(
        self, *, size: int, in_channels: int = 1, channel_base: int = 2048, channel_max: int = 256, group_size: int = 4
    ) -> None:
        super().__init__()
        steps = check_size(size) - 2
        if in_channels < 1:
            raise ValueError(f"in_channels is {in_channels}, it must be at least 1")
        check_width(size, channel_base, channel_max)
        channels = [min(channel_base // (size >> step), channel_max) for step in range(steps + 1)]
        self.size = size
        self.in_channels = in_channels
        self.from_image = EqualizedConv2d(in_channels, channels[0], 1)
        self.blocks = nn.Sequential(*(ResidualDownBlock(here, below) for here, below in pairwise(channels)))
        self.stddev = MinibatchStdDev(group_size)
        self.conv = EqualizedConv2d(channels[-1] + 1, channels[-1], 3, padding=1)
        self.dense = EqualizedLinear(channels[-1] * 16, channels[-1])
        self.output = EqualizedLinear(channels[-1], 1)

    def forward(self, image: Tensor, parts: int = 1) -> Tensor:
        """Judge images.

        Args:
            image: images in [-1, 1], ``(B, in_channels, size, size)``.
            parts: number of equal parts of the batch that are judged as batches of their own, such as 2 for real
                images followed by as many drawn ones.

        Returns:
            Logits ``(B, 1)``, large for real.

        Raises:
            ValueError: when the image has another shape, or the batch does not fall into equal parts.
        """
        if image.shape[1:] != (self.in_channels, self.size, self.size):
            raise ValueError(
                f"image has shape {tuple(image.shape)}, expected (batch, {self.in_channels}, {self.size}, {self.size})"
            )
        if parts < 1 or image.shape[0] % parts:
            raise ValueError(f"a batch of {image.shape[0]} images does not fall into {parts} equal parts")
        gain = math.sqrt(2.0)
        x = self.blocks(F.leaky_relu(self.from_image(image), 0.2) * gain)
        x = F.leaky_relu(self.conv(self.stddev(x, parts)), 0.2) * gain
        x = F.leaky_relu(self.dense(x.flatten(1)), 0.2) * gain
        return self.output(x)
