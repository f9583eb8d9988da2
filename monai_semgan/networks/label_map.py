# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Label maps with values in [-1, 1], the form in which discriminators see them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def logits_to_map(logits: Tensor) -> Tensor:
    """Class probabilities of label logits, spread over [-1, 1]; ``(B, L, H, W)``, L = 1 is binary."""
    probabilities = torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)
    return probabilities * 2 - 1


def label_to_map(label: Tensor, label_channels: int) -> Tensor:
    """One-hot form of a label in {-1, 1}.

    Args:
        label: class indices, ``(B, 1, H, W)``; with one label channel any positive value is foreground.
        label_channels: number of label channels.

    Returns:
        Label map ``(B, label_channels, H, W)``, fp32.

    Raises:
        ValueError: when the label is not one channel of indices, or an index has no channel.
    """
    if label.dim() != 4 or label.shape[1] != 1:
        raise ValueError(f"label has shape {tuple(label.shape)}, expected class indices (batch, 1, height, width)")
    if label_channels == 1:
        return (label > 0).float() * 2 - 1
    if label.min() < 0 or label.max() >= label_channels:
        raise ValueError(
            f"label holds class {int(label.min())} to {int(label.max())}, the network has {label_channels} channels"
        )
    return F.one_hot(label[:, 0].long(), label_channels).movedim(3, 1).float() * 2 - 1


def map_to_label(label_map: Tensor) -> Tensor:
    """The likeliest label of a label map or of logits, ``(B, L, H, W)``: zeros and ones, or class indices, as floats.

    Returns:
        Label ``(B, 1, H, W)``.
    """
    return (label_map > 0 if label_map.shape[1] == 1 else label_map.argmax(1, keepdim=True)).float()
