# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The networks that are measured: at the paper's width and as the bundles ship them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monai_semgan.networks.nets import ImageDiscriminator, JointDiscriminator, SemanticGAN


@dataclass(frozen=True)
class Preset:
    """Widths of all networks of one model.

    Attributes:
        channel_base: a resolution r has min(channel_base / r, channel_max) channels.
        channel_max: largest number of channels of generator and D_r.
        latent_dim: length of a W code.
        encoder: further settings of the encoder.
        joint_channels: channels of D_m's first convolution.
    """

    channel_base: int
    channel_max: int
    latent_dim: int
    encoder: dict[str, Any]
    joint_channels: int

    def network(self, size: int) -> SemanticGAN:
        """Generator and encoder for grey images with a binary mask."""
        return SemanticGAN(
            size=size,
            latent_dim=self.latent_dim,
            channel_base=self.channel_base,
            channel_max=self.channel_max,
            **self.encoder,
        )

    def discriminators(self, size: int) -> tuple[ImageDiscriminator, JointDiscriminator]:
        """D_r and D_m."""
        return (
            ImageDiscriminator(size=size, channel_base=self.channel_base, channel_max=self.channel_max),
            JointDiscriminator(channels=self.joint_channels),
        )


PRESETS = {
    # 512 channels up to 64 px, 256 at 128, 128 at 256; an encoder of about the generator's operations
    "paper": Preset(32768, 512, 512, {"encoder_channel_max": 512, "pyramid_channels": 768, "head_channels": 384}, 64),
    # the defaults of the networks and of configs/train_gan.yaml
    "shipped": Preset(2048, 256, 192, {}, 32),
}
