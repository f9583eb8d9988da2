# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Generator, encoder and student as one inference network: image to label logits."""

from __future__ import annotations

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn

from monai_semgan.networks.nets.dice_calibration import DiceCalibration
from monai_semgan.networks.nets.domain_check import DomainCheck
from monai_semgan.networks.nets.semantic_generator import SemanticGenerator
from monai_semgan.networks.nets.wplus_encoder import WPlusEncoder
from monai_semgan.networks.nets.wplus_preconditioner import WPlusPreconditioner
from monai_semgan.networks.nets.wplus_prior import WPlusPrior


class SemanticGAN(nn.Module):
    r"""SemanticGAN's inference network, :math:`y = G_y(\bar w + E(x))`.

    Its state dict is what a bundle ships. The distribution of the images' codes, from which :meth:`sample` draws, the
    preconditioner of refinement, and what the confidence of its masks tells of their Dice belong to it; discriminators
    belong to training alone. A student is part of it where there is one: a network from images to label logits that
    learned from the labelled pairs and from what its teachers, this network among them, agree on.

    Args:
        size: side of the square images in pixels, a power of two from 16.
        image_channels: 1 or 3.
        label_channels: number of label channels, 1 for a binary mask.
        latent_dim: length of a W code.
        channel_base: channel rule of generator and encoder, min(channel_base / r, max) at resolution r.
        channel_max: largest number of generator channels.
        mapping_layers: depth of the mapping network.
        encoder_channel_max: largest number of encoder channels.
        pyramid_channels: channels of the encoder's feature pyramid.
        head_channels: channels of the encoder's heads.
        student: a network from images to label logits of the same shapes, such as MONAI's ``UNet``; none by default.
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
        encoder_channel_max: int = 128,
        pyramid_channels: int = 64,
        head_channels: int = 24,
        student: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.generator = SemanticGenerator(
            size=size,
            image_channels=image_channels,
            label_channels=label_channels,
            latent_dim=latent_dim,
            channel_base=channel_base,
            channel_max=channel_max,
            mapping_layers=mapping_layers,
        )
        self.encoder = WPlusEncoder(
            size=size,
            in_channels=image_channels,
            latent_dim=latent_dim,
            channel_base=channel_base,
            channel_max=encoder_channel_max,
            pyramid_channels=pyramid_channels,
            head_channels=head_channels,
        )
        self.prior = WPlusPrior(self.generator.num_codes, latent_dim)
        self.preconditioner = WPlusPreconditioner(self.generator.num_codes, latent_dim)
        self.calibration = DiceCalibration()
        # of volumes, slice by slice
        self.slice_calibration = DiceCalibration()
        self.student = student
        # of a student of MONAI's U-Net, whose lowest maps it knows images by
        self.domain = DomainCheck(student.channels[-1]) if isinstance(student, UNet) else None

    @torch.jit.export
    def encode(self, image: Tensor) -> Tensor:
        """Predict W+ codes ``(B, num_codes, latent_dim)`` of images ``(B, C, size, size)`` in [-1, 1]."""
        return self.generator.mean_w + self.encoder(image)

    @torch.jit.export
    def decode(self, wplus: Tensor, noise: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Draw image and label logits from W+ codes; see :meth:`SemanticGenerator.synthesis`."""
        return self.generator.synthesis(wplus, noise)

    def forward(self, image: Tensor) -> Tensor:
        """Segment without refinement.

        Args:
            image: images in [-1, 1], ``(B, image_channels, size, size)``.

        Returns:
            Label logits ``(B, label_channels, size, size)``.
        """
        return self.decode(self.encode(image), None)[1]

    @torch.jit.unused
    @torch.no_grad()
    def sample(
        self, num: int, *, truncation: float = 1.0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw images like those that it was trained on, with label logits, from :class:`WPlusPrior`.

        Args:
            num: number of images.
            truncation: 1 for the full variety of images, towards 0 for images nearer the mean one.
            generator: source of random numbers on the CPU, for a seed of one's own.

        Returns:
            Images in [-1, 1], ``(num, image_channels, size, size)``, and logits ``(num, label_channels, size, size)``.

        Raises:
            ValueError: when the training of the encoder has not fitted the distribution.
        """
        image, logits = self.decode(self.prior.sample(num, truncation=truncation, generator=generator))
        return image.clamp(-1.0, 1.0), logits
