# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Feature matching on the joint discriminator (Salimans et al., NeurIPS 2016, arXiv:1606.03498)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FeatureMatchingLoss(nn.Module):
    r"""L1 distance of mean features, :math:`\| E f(x, y) - E f(G(z)) \|_1`, averaged over layers and scales.

    Fake and real pairs are unrelated images, so means over the batch are compared and not pair with pair, which would
    draw every fake to the median of the reals.

    Args:
        weight: weight of the loss.
    """

    def __init__(self, weight: float = 2.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
        """Compare features.

        Args:
            fake: per scale the features of fake pairs, ``(B, C, h, w)`` each.
            real: the same of real pairs, no gradient flows into them; another batch size is allowed.

        Returns:
            A scalar, in fp32.
        """
        distances = [
            (f.float().mean(0) - r.detach().float().mean(0)).abs().mean()
            for fake_scale, real_scale in zip(fake, real, strict=True)
            for f, r in zip(fake_scale, real_scale, strict=True)
        ]
        return self.weight * torch.stack(distances).mean()
