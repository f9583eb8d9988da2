# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Minibatch standard deviation (Karras et al., ICLR 2018, arXiv:1710.10196, section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MinibatchStdDev(nn.Module):
    """Append one channel that holds the mean standard deviation of the features within groups of images.

    A batch of B images makes ceil(B / group_size) groups whose sizes differ by at most one. An odd image joins a group
    rather than being one by itself, whose deviation would tell nothing.

    Args:
        group_size: largest number of images in a group, at least 2; groups of 2 may have a third.
    """

    def __init__(self, group_size: int = 4) -> None:
        super().__init__()
        if group_size < 2:
            raise ValueError(f"group_size is {group_size}, it must be at least 2: one image has no deviation")
        self.group_size = group_size

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C + 1, H, W)``.

        Args:
            x: features.
            parts: number of equal parts of the batch, one after the other, that are batches of their own.
        """
        batch, _, height, width = x.shape
        part = batch // parts
        groups = max(1, min(-(-part // self.group_size), part // 2))
        rows = -(-part // groups)
        # images i, i + groups, i + 2 groups, ... of a part form a group; the last row may be short
        padded = F.pad(x.float().unflatten(0, (parts, part)), (0, 0, 0, 0, 0, 0, 0, rows * groups - part))
        grouped = padded.unflatten(1, (rows, groups))
        member = (torch.arange(rows * groups, device=x.device) < part).float().view(rows, groups, 1, 1, 1)
        mean = grouped.sum(1, keepdim=True) / member.sum(0)
        variance = ((grouped - mean).square() * member).sum(1) / member.sum(0)
        deviation = (variance + 1e-8).sqrt().mean((2, 3, 4))
        channel = deviation.repeat(1, rows)[:, :part].flatten()[:, None, None, None].expand(batch, 1, height, width)
        return torch.cat([x, channel.to(x.dtype)], dim=1)
