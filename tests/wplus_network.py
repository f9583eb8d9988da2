# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A network that is small, and answers like a trained one."""

from __future__ import annotations

import torch

from monai_semgan.networks.nets import SemanticGAN


def make_network(size: int = 16, channels: int = 1, labels: int = 1) -> SemanticGAN:
    """A tiny network whose encoder answers to the image and whose noise maps count, as after training."""
    network = SemanticGAN(
        size=size,
        image_channels=channels,
        label_channels=labels,
        latent_dim=8,
        channel_base=256,
        channel_max=16,
        mapping_layers=2,
        encoder_channel_max=16,
        pyramid_channels=8,
        head_channels=8,
    )
    with torch.no_grad():
        for head in network.encoder.heads:
            head.linear.weight.normal_(std=0.02)
        for name, weight in network.named_parameters():
            if name.endswith("noise_strength"):
                weight.fill_(0.1)
        network.generator.mean_w.copy_(network.generator.mapping(torch.randn(256, 8)).mean(0))
    return network.eval()
