# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Semantic generator: image and label map from one latent code (Li et al., CVPR 2021, arXiv:2104.05833)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_semgan.networks.blocks.output_branch import OutputBranch
from monai_semgan.networks.blocks.style_block import StyleBlock
from monai_semgan.networks.layers.equalized import EqualizedLinear
from monai_semgan.networks.layers.fir import FIRFilter


def check_size(size: int, smallest: int = 16) -> int:
    """Return log2 of an image side.

    Raises:
        ValueError: when ``size`` is not a power of two or below ``smallest``.
    """
    if size < smallest or size & (size - 1):
        raise ValueError(f"size is {size}, it must be a power of two and at least {smallest}")
    return int(math.log2(size))


def check_width(size: int, channel_base: int, channel_max: int) -> None:
    """Refuse widths that leave no channel at some resolution."""
    if channel_base < size or channel_max < 1:
        raise ValueError(
            f"channel_base {channel_base} leaves no channel at {size} px: it must be at least {size}, "
            f"and channel_max ({channel_max}) at least 1"
        )


class MappingNetwork(nn.Module):
    """Map Z to W: normalise z to unit root mean square, then equalised linear layers with leaky ReLU.

    Args:
        latent_dim: length of z and of w.
        layers: number of linear layers.
        lr_multiplier: factor on the learning rate of these layers.
    """

    def __init__(self, latent_dim: int, layers: int = 8, lr_multiplier: float = 0.01) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EqualizedLinear(latent_dim, latent_dim, lr_multiplier=lr_multiplier) for _ in range(layers)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Map ``(B, latent_dim)`` to ``(B, latent_dim)``."""
        w = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            w = F.leaky_relu(layer(w), 0.2) * math.sqrt(2.0)
        return w


class SynthesisLevel(nn.Module):
    """Style blocks and output branches of one resolution; adds to the upsampled image and label logits.

    Args:
        in_channels: number of input channels.
        out_channels: number of feature channels at this resolution.
        image_channels: number of image channels.
        label_channels: number of label channels.
        latent_dim: length of a W code.
        side: side of the output in pixels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, image_channels: int, label_channels: int, latent_dim: int, side: int
    ) -> None:
        super().__init__()
        self.up = StyleBlock(in_channels, out_channels, latent_dim, side, upsample=True)
        self.style = StyleBlock(out_channels, out_channels, latent_dim, side)
        self.to_image = OutputBranch(out_channels, image_channels, latent_dim)
        self.to_label = OutputBranch(out_channels, label_channels, latent_dim)
        self.fir = FIRFilter()

    def forward(
        self, x: Tensor, image: Tensor, label: Tensor, wplus: Tensor, noise: list[Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Double the resolution.

        Args:
            x: features, ``(B, in_channels, H, W)``.
            image: image so far, ``(B, image_channels, H, W)``.
            label: label logits so far, ``(B, label_channels, H, W)``.
            wplus: the three codes of this level, ``(B, 3, latent_dim)``; the third also feeds the next level's first
                block.
            noise: noise of the two blocks, ``(B or 1, 1, 2H, 2W)`` each; by default their fixed maps.

        Returns:
            Features, image and label logits at twice the resolution.
        """
        x = self.up(x, wplus[:, 0], None if noise is None else noise[0])
        x = self.style(x, wplus[:, 1], None if noise is None else noise[1])
        image = self.fir.upsample(image) + self.to_image(x, wplus[:, 2])
        label = self.fir.upsample(label) + self.to_label(x, wplus[:, 2])
        return x, image, label


class SemanticGenerator(nn.Module):
    r"""StyleGAN2 generator with residual skip outputs for an image and its label map, :math:`G: z \to w \to (x, y)`.

    After the style blocks of each resolution, tImage and tSeg branches add to the upsampled image and label logits.
    The W+ space has ``num_codes`` = 2 log2(size) - 2 codes. See Li et al., CVPR 2021, section 3.1.

    Args:
        size: side of the square output in pixels, a power of two from 16.
        image_channels: 1 or 3.
        label_channels: number of label channels, 1 for a binary mask.
        latent_dim: length of z and of each W code.
        channel_base: a resolution r has min(channel_base / r, channel_max) feature channels.
        channel_max: largest number of feature channels.
        mapping_layers: depth of the mapping network.
        mapping_lr_multiplier: factor on the mapping network's learning rate.

    Raises:
        ValueError: for a size, a channel count or a width that cannot work.
    """

    def __init__(
        self,
        *,
        size: int,
        image_channels: int = 1,
        label_channels: int = 1,
        latent_dim: int = 192,
        channel_base: int = 2048,
        channel_max: int = 256,
        mapping_layers: int = 8,
        mapping_lr_multiplier: float = 0.01,
    ) -> None:
        super().__init__()
        levels = check_size(size) - 2
        if image_channels not in (1, 3):
            raise ValueError(f"image_channels is {image_channels}, it must be 1 (grey) or 3 (RGB)")
        if label_channels < 1:
            raise ValueError(f"label_channels is {label_channels}, it must be at least 1")
        if latent_dim < 1 or mapping_layers < 1:
            raise ValueError(f"latent_dim {latent_dim} and mapping_layers {mapping_layers} must be at least 1")
        check_width(size, channel_base, channel_max)
        self.size = size
        self.image_channels = image_channels
        self.label_channels = label_channels
        self.latent_dim = latent_dim
        self.num_codes = 2 * levels + 2

        channels = [min(channel_base // 2 ** (level + 2), channel_max) for level in range(levels + 1)]
        self.mapping = MappingNetwork(latent_dim, mapping_layers, mapping_lr_multiplier)
        self.constant = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.style = StyleBlock(channels[0], channels[0], latent_dim, 4)
        self.to_image = OutputBranch(channels[0], image_channels, latent_dim)
        self.to_label = OutputBranch(channels[0], label_channels, latent_dim)
        self.levels = nn.ModuleList(
            SynthesisLevel(below, here, image_channels, label_channels, latent_dim, 8 << level)
            for level, (below, here) in enumerate(pairwise(channels))
        )
        self.mean_w: Tensor
        self.register_buffer("mean_w", torch.zeros(latent_dim))

    @torch.jit.unused
    def random_noise(self, batch: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """Draw unit normal noise maps, ``(batch, 1, side, side)`` each."""
        return [
            torch.randn(batch, 1, block.side, block.side, device=self.mean_w.device, generator=generator)
            for block in self.modules()
            if isinstance(block, StyleBlock)
        ]

    def broadcast(self, w: Tensor) -> Tensor:
        """Repeat one code over all layers: W ``(B, latent_dim)`` to W+ ``(B, num_codes, latent_dim)``."""
        return w[:, None].expand(w.shape[0], self.num_codes, w.shape[1])

    @torch.jit.unused
    def truncate(self, w: Tensor, psi: float) -> Tensor:
        r"""Pull codes towards the tracked mean, :math:`\bar w + \psi (w - \bar w)`; W or W+, any shape ``(..., D)``."""
        return self.mean_w + psi * (w - self.mean_w)

    @torch.jit.unused
    def mix_styles(self, w: Tensor, w_mix: Tensor, crossover: Tensor) -> Tensor:
        """Style mixing: codes from ``crossover`` on come from ``w_mix``.

        Args:
            w: codes of the first layers, ``(B, latent_dim)``.
            w_mix: codes of the other layers, ``(B, latent_dim)``.
            crossover: first layer that takes ``w_mix``, ``(B,)`` integers from 1; ``num_codes`` does not mix.

        Returns:
            W+ codes, ``(B, num_codes, latent_dim)``.
        """
        mixed = torch.arange(self.num_codes, device=w.device) >= crossover[:, None]
        return torch.where(mixed[:, :, None], w_mix[:, None], w[:, None])

    @torch.jit.unused
    def draw_codes(self, batch: int, style_mixing: float) -> tuple[Tensor, Tensor]:
        """Draw W+ codes, some of which change latents at a random layer (arXiv:1812.04948, section 3.1).

        Args:
            batch: number of codes.
            style_mixing: probability that an image takes two latents.

        Returns:
            The W codes of the first layers ``(batch, latent_dim)`` and the W+ codes ``(batch, num_codes, latent_dim)``.
        """
        device = self.mean_w.device
        w, w_mix = self.mapping(torch.randn(2 * batch, self.latent_dim, device=device)).chunk(2)
        crossover = torch.randint(1, self.num_codes, (batch,), device=device)
        mixes = torch.rand(batch, device=device) < style_mixing
        return w, self.mix_styles(w, w_mix, torch.where(mixes, crossover, self.num_codes))

    @torch.jit.unused
    @torch.no_grad()
    def track_mean_w(self, w: Tensor, decay: float = 0.995) -> None:
        """Move the mean w towards the mean of a batch of codes ``(B, latent_dim)``."""
        self.mean_w.lerp_(w.detach().float().mean(0), 1.0 - decay)

    def synthesis(self, wplus: Tensor, noise: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Draw image and label logits from W or W+ codes.

        Args:
            wplus: W+ codes ``(B, num_codes, latent_dim)`` or W codes ``(B, latent_dim)``.
            noise: a noise map per style block, ``(B or 1, 1, side, side)``; by default the fixed ones.

        Returns:
            Image, nominally in [-1, 1], ``(B, image_channels, size, size)``, and label logits
            ``(B, label_channels, size, size)``.

        Raises:
            ValueError: when the codes or the noise do not have these shapes.
        """
        if wplus.dim() == 2:
            wplus = self.broadcast(wplus)
        if wplus.dim() != 3 or wplus.shape[1] != self.num_codes or wplus.shape[2] != self.latent_dim:
            raise ValueError(
                f"codes have shape {list(wplus.shape)}, expected (batch, {self.num_codes}, {self.latent_dim})"
            )
        if noise is not None and len(noise) != self.num_codes - 1:
            raise ValueError(f"{len(noise)} noise maps given, this generator needs {self.num_codes - 1}")
        x = self.constant.expand(wplus.shape[0], -1, -1, -1)
        x = self.style(x, wplus[:, 0], None if noise is None else noise[0])
        image = self.to_image(x, wplus[:, 1])
        label = self.to_label(x, wplus[:, 1])
        for index, level in enumerate(self.levels):
            first = 2 * index + 1
            x, image, label = level(
                x, image, label, wplus[:, first : first + 3], None if noise is None else noise[first : first + 2]
            )
        return image, label

    def forward(self, z: Tensor, noise: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Draw image and label logits from latents ``(B, latent_dim)``; see :meth:`synthesis`."""
        return self.synthesis(self.broadcast(self.mapping(z)), noise)

    @torch.jit.unused
    @torch.no_grad()
    def sample(
        self, num: int, *, truncation: float = 1.0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw random images with their label logits.

        Args:
            num: number of images.
            truncation: 1 for the full variety, towards 0 for images nearer the mean.
            generator: random number generator on the network's device, for results that repeat.

        Returns:
            Images ``(num, image_channels, size, size)``, clamped to [-1, 1], and label logits
            ``(num, label_channels, size, size)``.
        """
        if num < 1:
            raise ValueError(f"num is {num}, it must be at least 1")
        if not 0.0 <= truncation <= 1.0:
            raise ValueError(f"truncation is {truncation}, it must lie in [0, 1]")
        z = torch.randn(num, self.latent_dim, device=self.mean_w.device, generator=generator)
        w = self.truncate(self.mapping(z), truncation)
        image, label = self.synthesis(self.broadcast(w), self.random_noise(num, generator))
        return image.clamp(-1.0, 1.0), label
