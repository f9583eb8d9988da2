# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Minibatch standard deviation (Karras et al., ICLR 2018, arXiv:1710.10196, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MinibatchStdDev(nn.Module):
    """Append one channel that holds the mean standard deviation of the features within groups of images.

    Args:
        group_size: largest number of images in a group; the largest divisor of the batch that does not exceed it is
            used, so that any batch size works.
    """

    def __init__(self, group_size: int = 4) -> None:
        super().__init__()
        if group_size < 1:
            raise ValueError(f"group_size is {group_size}, it must be at least 1")
        self.group_size = group_size

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C + 1, H, W)``.

        Args:
            x: features.
            parts: number of equal parts of the batch, one after the other, that are batches of their own.
        """
        batch, _, height, width = x.shape
        part = batch // parts
        group = max(n for n in range(1, min(self.group_size, part) + 1) if part % n == 0)
        # images i, i + B/group, i + 2B/group, ... of a part form a group
        grouped = x.float().unflatten(0, (parts, group, part // group))
        deviation = (grouped.var(1, unbiased=False) + 1e-8).sqrt().mean((2, 3, 4))
        channel = deviation.repeat(1, group).flatten()[:, None, None, None].expand(batch, 1, height, width)
        return torch.cat([x, channel.to(x.dtype)], dim=1)
