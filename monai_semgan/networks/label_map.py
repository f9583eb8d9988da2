# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Label maps: class indices, logits, and values in [-1, 1], the form in which discriminators see them.

One label channel is binary, a sigmoid; several are classes that exclude each other, background first, a softmax. The
classes of a bundle say how many it has: :func:`monai_semgan.bundle.label_channels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def logits_to_probabilities(logits: Tensor) -> Tensor:
    """Class probabilities of label logits ``(B, L, ...)``: a sigmoid of one channel, else a softmax over all."""
    return torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)


def logits_to_map(logits: Tensor) -> Tensor:
    """Class probabilities of label logits, spread over [-1, 1]; ``(B, L, H, W)``, L = 1 is binary."""
    return logits_to_probabilities(logits) * 2 - 1


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


def decided(probabilities: Tensor, threshold: float = 0.5) -> Tensor:
    """Class indices of probabilities ``(L, ...)``: of one channel 1 from the threshold on, else the likeliest class.

    Returns:
        Unsigned bytes, ``(1, ...)``.
    """
    if len(probabilities) == 1:
        return (probabilities >= threshold).to(torch.uint8)
    return probabilities.argmax(0, keepdim=True).to(torch.uint8)


def resized_label(label: Tensor, size: Sequence[int], **how: Any) -> Tensor:
    """Resize class indices: each pixel gets the class of the largest share, the higher one of two alike.

    Args:
        label: class indices, ``(1, H, W)``.
        size: rows and columns.
        how: how the shares are interpolated, as ``torch.nn.functional.interpolate`` has it.

    Returns:
        Class indices, ``(1, *size)``, fp32.
    """
    if tuple(label.shape[1:]) == tuple(size):
        return label.float()
    found = torch.zeros((1, *size), device=label.device)
    largest = torch.zeros_like(found)
    # a class at a time, which takes the memory of one
    for value in torch.unique(label):
        share = F.interpolate((label == value).float()[None], tuple(size), **how)[0]
        found = torch.where(share >= largest, value.float(), found)
        largest = torch.maximum(largest, share)
    return found
