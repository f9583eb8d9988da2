# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What the confidence of a mask tells of its Dice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from monai_semgan.networks.label_map import logits_to_map

KNOTS = 8


class Quality(NamedTuple):
    """What is expected of a mask without its label, all in [0, 1].

    Attributes:
        dice: the predicted Dice coefficient.
        low: lower end of its interval.
        high: upper end.
        slices: the same of each slice of a volume, from the feet; empty of an image.
    """

    dice: float
    low: float
    high: float
    slices: tuple[Quality, ...] = ()


class DiceCalibration(nn.Module):
    r"""Predict the Dice of a mask from how sure its network is of it.

    The soft Dice confidence (:func:`soft_dice_confidence`) goes through a rising curve d, linear between knots. The
    interval is :math:`d - a (1.01 - d)` to :math:`d + b (1.01 - d)`, wider where the mask is worse.
    ``semgan calibrate`` finds curve and interval on labelled images; they belong to the weights that made the masks and
    are shipped in them. Until then, nothing is predicted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.knots: Tensor
        self.margins: Tensor
        self.register_buffer("knots", torch.zeros(KNOTS, 2))
        self.register_buffer("margins", torch.zeros(2))

    @torch.jit.unused
    def fit(self, knots: Sequence[Sequence[float]], margins: Sequence[float]) -> None:
        """Set curve and interval.

        Args:
            knots: confidence and Dice of 8 knots, both rising, in [0, 1].
            margins: a and b, from 0.

        Raises:
            ValueError: for values of another number, out of range, or that do not rise.
        """
        curve = torch.as_tensor(knots, dtype=torch.float32)
        if curve.shape != self.knots.shape or (curve.diff(dim=0) < 0).any() or curve.min() < 0 or curve.max() > 1:
            raise ValueError(f"knots are {knots}, expected {KNOTS} pairs of confidence and Dice in [0, 1], both rising")
        if len(margins) != 2 or not min(margins) >= 0:
            raise ValueError(f"margins are {margins}, expected two numbers from 0")
        self.knots.copy_(curve)
        self.margins.copy_(torch.as_tensor(margins))

    @torch.jit.unused
    def predict(self, confidence: float) -> Quality | None:
        """Predict from a confidence in [0, 1]; None where nothing was fitted."""
        if not self.knots.any():
            return None
        dice = float(np.interp(confidence, *self.knots.double().cpu().numpy().T))
        below, above = self.margins.tolist()
        return Quality(dice, max(0.0, dice - below * (1.01 - dice)), min(1.0, dice + above * (1.01 - dice)))


def soft_dice_confidence(logits: Tensor) -> float:
    r"""Soft Dice of probabilities p and the mask m that they make, :math:`\frac{2 \sum p m}{\sum p + \sum m}`.

    Of several classes it is the mean over those that the image is likely to show, as the Dice that it is compared with.

    It needs no label, and is the expected Dice where pixels are calibrated (Borges et al. 2024, arXiv:2402.10665).

    Args:
        logits: label logits ``(L, ...)``; L = 1 is binary, of several all but the first are classes.

    Returns:
        A number in [0, 1]; 1 where no pixel is likely to be anything, 0 where some are and the mask is empty.
    """
    shown = logits.as_subclass(Tensor).float().flatten(1)[None, :, None]
    found = (logits_to_map(shown)[0, :, 0] + 1) / 2
    if len(found) == 1:
        mask = (found > 0.5).float()
    else:
        mask = torch.zeros_like(found).scatter_(0, found.argmax(0, keepdim=True), 1.0)[1:]
        found = found[1:]
    total = found.sum(1) + mask.sum(1)
    # less than a pixel in all is nothing
    shown_classes = total >= 1
    if not shown_classes.any():
        return 1.0
    return float((2 * (found * mask).sum(1)[shown_classes] / total[shown_classes]).mean())


def slice_confidences(logits: Tensor) -> list[float]:
    """:func:`soft_dice_confidence` of each slice of a volume; of slices without a mask that of those beside them.

    Where an organ ends is least sure: a slice without a mask is as sure as the least sure of those beside it that have
    one, and sure, 1, where none has.

    Args:
        logits: label logits ``(L, H, W, slices)``; L as in :func:`soft_dice_confidence`.

    Returns:
        Numbers in [0, 1], as many as slices.
    """
    planes = logits.as_subclass(Tensor).float().unbind(-1)
    shown = [bool((plane > 0).any() if len(plane) == 1 else plane.argmax(0).any()) for plane in planes]
    own = [soft_dice_confidence(plane) if some else 1.0 for plane, some in zip(planes, shown)]
    return [
        own[k] if some else min((own[j] for j in (k - 1, k + 1) if 0 <= j < len(own)), default=1.0)
        for k, some in enumerate(shown)
    ]
