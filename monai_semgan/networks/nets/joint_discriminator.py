# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Joint discriminator D_m on image and label map (Li et al., CVPR 2021; pix2pixHD, arXiv:1711.11585)."""

from __future__ import annotations

import torch
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class JointDiscriminator(nn.Module):
    """PatchGANs on an average-pooled pyramid of image and label map, concatenated along the channels.

    Each scale is MONAI's ``PatchDiscriminator`` with instance norm, and spectral norm on its middle convolutions.

    Args:
        in_channels: image channels plus label channels.
        num_scales: number of pyramid levels, each half the resolution of the one before.
        channels: channels of the first convolution, doubled by each middle convolution.
        num_layers: number of middle convolutions.

    Raises:
        ValueError: for counts below 1, or fewer than 2 input channels.
    """

    def __init__(self, *, in_channels: int = 2, num_scales: int = 3, channels: int = 64, num_layers: int = 3) -> None:
        super().__init__()
        if in_channels < 2:
            raise ValueError(f"in_channels is {in_channels}, image and label need at least 2")
        if min(num_scales, channels, num_layers) < 1:
            raise ValueError(
                f"num_scales {num_scales}, channels {channels} and num_layers {num_layers} must be at least 1"
            )
        self.in_channels = in_channels
        self.scales = nn.ModuleList()
        for _ in range(num_scales):
            scale = PatchDiscriminator(
                spatial_dims=2,
                channels=channels,
                in_channels=in_channels,
                num_layers_d=num_layers,
                padding=2,
                norm="INSTANCE",
            )
            for layer in range(num_layers):
                spectral_norm(scale.get_submodule(str(layer)).get_submodule("conv"))
            self.scales.append(scale)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)

    def forward(self, image: Tensor, label: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Judge pairs.

        Args:
            image: images in [-1, 1], ``(B, C, S, S)``.
            label: label maps, one-hot in {-1, 1} when real, ``(B, L, S, S)``.

        Returns:
            Per scale a map of logits ``(B, 1, h, w)``, and per scale the features of every layer before it.

        Raises:
            ValueError: when the channels do not add up to ``in_channels`` or batch or size differ.
        """
        if label.shape != (image.shape[0], self.in_channels - image.shape[1], *image.shape[2:]):
            raise ValueError(
                f"image {tuple(image.shape)} and label {tuple(label.shape)} do not make pairs of {self.in_channels} "
                "channels and one size"
            )
        pair = torch.cat([image, label.to(image.dtype)], dim=1)
        logits, features = [], []
        for scale in self.scales:
            *hidden, output = scale(pair)
            logits.append(output)
            features.append(hidden)
            pair = self.pool(pair)
        return logits, features
