# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Random W+ codes with style mixing (Karras et al., CVPR 2019, arXiv:1812.04948, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_semgan.networks.nets import SemanticGenerator


def draw_codes(generator: SemanticGenerator, batch: int, style_mixing: float) -> tuple[Tensor, Tensor]:
    """Draw W+ codes, some of which change latents at a random layer.

    Args:
        generator: generator whose mapping network is used.
        batch: number of codes.
        style_mixing: probability that an image takes two latents.

    Returns:
        The W codes of the first layers ``(batch, latent_dim)`` and the W+ codes ``(batch, num_codes, latent_dim)``.
    """
    device = generator.mean_w.device
    w, w_mix = generator.mapping(torch.randn(2 * batch, generator.latent_dim, device=device)).chunk(2)
    crossover = torch.randint(1, generator.num_codes, (batch,), device=device)
    mixes = torch.rand(batch, device=device) < style_mixing
    return w, generator.mix_styles(w, w_mix, torch.where(mixes, crossover, generator.num_codes))
