# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Encoder from an image to W+ (pSp: Richardson et al., CVPR 2021, arXiv:2008.00951)."""

from __future__ import annotations

from itertools import pairwise

import torch
from monai.networks.blocks import FeaturePyramidNetwork, ResidualUnit
from monai.networks.blocks.convolutions import Convolution
from torch import Tensor, nn

from monai_semgan.networks.nets.semantic_generator import check_size

ACTIVATION = ("leakyrelu", {"negative_slope": 0.2})


class CodeHead(nn.Module):
    """Map one pyramid level to one W+ code: strided convolutions down to 4x4, then a linear layer, zero at the start.

    Args:
        side: side of the pyramid level in pixels.
        in_channels: channels of the pyramid.
        channels: channels of the strided convolutions.
        latent_dim: length of the code.
    """

    def __init__(self, side: int, in_channels: int, channels: int, latent_dim: int) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        while side > 4:
            stack.append(Convolution(2, in_channels, channels, strides=2, act=ACTIVATION, norm=None))
            in_channels, side = channels, side // 2
        self.convolutions = nn.Sequential(*stack)
        self.linear = nn.Linear(in_channels * 16, latent_dim)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, in_channels, side, side)`` to ``(B, latent_dim)``."""
        return self.linear(self.convolutions(x).flatten(1))


class WPlusEncoder(nn.Module):
    """Feature pyramid with one head per W+ code; predicts the offset from the mean w.

    The codes of a generator resolution read the pyramid at that resolution, those above 32 px at 32 px; small images
    use the levels they have. Group norm keeps images independent of their batch.

    Args:
        size: side of the square images in pixels, a power of two from 16.
        in_channels: number of image channels.
        latent_dim: length of a W code.
        channel_base: a resolution r of the backbone has min(channel_base / r, channel_max) channels, at least 8.
        channel_max: largest number of backbone channels.
        pyramid_channels: channels of the feature pyramid.
        head_channels: channels of the heads.

    Raises:
        ValueError: for a size or a width that cannot work.
    """

    def __init__(
        self,
        *,
        size: int,
        in_channels: int = 1,
        latent_dim: int = 192,
        channel_base: int = 2048,
        channel_max: int = 128,
        pyramid_channels: int = 64,
        head_channels: int = 24,
    ) -> None:
        super().__init__()
        log_size = check_size(size)
        if min(in_channels, latent_dim) < 1:
            raise ValueError(f"in_channels {in_channels} and latent_dim {latent_dim} must be at least 1")
        if min(channel_base, channel_max, pyramid_channels, head_channels) < 8:
            raise ValueError(
                f"channel_base {channel_base}, channel_max {channel_max}, pyramid_channels {pyramid_channels} and "
                f"head_channels {head_channels} must be at least 8"
            )
        self.size = size
        self.in_channels = in_channels
        sides = [size >> step for step in range(1, log_size - 1)]
        # multiples of 8, so that groups of group norm divide them
        channels = [max(8, min(channel_base // side, channel_max) // 8 * 8) for side in sides]
        self.stem = Convolution(2, in_channels, channels[0], strides=2, act=ACTIVATION, norm=None)
        self.stages = nn.ModuleList(
            ResidualUnit(
                2, below, here, strides=2, subunits=2, act=ACTIVATION, norm=("group", {"num_groups": here // 8})
            )
            for below, here in pairwise(channels)
        )
        self.sides = [side for side in sides if side <= 32]
        self.first_level = len(sides) - len(self.sides)
        self.pyramid = FeaturePyramidNetwork(2, channels[self.first_level :], pyramid_channels)
        self.heads = nn.ModuleList()
        self.head_level: list[int] = []
        for code in range(2 * log_size - 2):
            side = min(max(self.sides), 2 ** ((code + 1) // 2 + 2))
            self.heads.append(CodeHead(side, pyramid_channels, head_channels, latent_dim))
            self.head_level.append(self.sides.index(side))

    def features(self, image: Tensor) -> list[Tensor]:
        """Backbone features from size / 2 down to 4 px, each ``(B, channels, side, side)``.

        Raises:
            ValueError: when the image does not have the shape ``(B, in_channels, size, size)``.
        """
        if image.dim() != 4 or list(image.shape[1:]) != [self.in_channels, self.size, self.size]:
            raise ValueError(
                f"image has shape {list(image.shape)}, expected (batch, {self.in_channels}, {self.size}, {self.size})"
            )
        x = self.stem(image)
        maps = [x]
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward(self, image: Tensor) -> Tensor:
        """Predict W+ offsets from the mean w.

        Args:
            image: images in [-1, 1], ``(B, in_channels, size, size)``.

        Returns:
            Offsets ``(B, num_codes, latent_dim)``.
        """
        return self.offsets(self.features(image))

    def offsets(self, maps: list[Tensor]) -> Tensor:
        """Predict the offsets from the backbone's :meth:`features`."""
        named = {str(index): level for index, level in enumerate(maps[self.first_level :])}
        levels = list(self.pyramid(named).values())
        codes: list[Tensor] = []
        for index, head in enumerate(self.heads):
            codes.append(head(levels[self.head_level[index]]))
        return torch.stack(codes, dim=1)
