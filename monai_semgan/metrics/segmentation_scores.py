# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Scores of one binary mask against its label, on the grid of the image."""

from __future__ import annotations

import warnings

import numpy as np
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou
from torch import Tensor

SCORES = ("dice", "iou", "hausdorff95_pixel", "hausdorff95_mm")


def segmentation_scores(pred: Tensor, label: Tensor, spacing: np.ndarray | None = None) -> dict[str, float]:
    r"""Compute Dice, :math:`2|A \cap B| / (|A| + |B|)`, IoU, :math:`|A \cap B| / |A \cup B|`, and the 95 % Hausdorff
    distance, the larger of the two 95th percentiles of distances from one surface to the other.

    Two empty masks agree: Dice and IoU are 1. A distance to an empty mask is not defined and NaN.

    Args:
        pred: binary mask, ``(...)``.
        label: binary mask of the same shape.
        spacing: millimetres a pixel, one for each dimension; None if not known.

    Returns:
        Values for each of :data:`SCORES`; the distance in millimetres is NaN where the spacing is not known.

    Raises:
        ValueError: when the shapes differ.
    """
    if pred.shape != label.shape:
        raise ValueError(f"label of {tuple(label.shape)} does not fit the image of {tuple(pred.shape)} pixels")
    a, b = (mask.float()[None, None] for mask in (pred, label))

    def distance(unit: np.ndarray | None) -> float:
        if not (a.any() and b.any()):
            return float("nan")
        units = None if unit is None else [float(value) for value in unit]
        return compute_hausdorff_distance(a, b, include_background=True, percentile=95, spacing=units).item()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "dice": compute_dice(a, b, ignore_empty=False).item(),
            "iou": compute_iou(a, b, ignore_empty=False).item(),
            "hausdorff95_pixel": distance(None),
            "hausdorff95_mm": distance(spacing) if spacing is not None else float("nan"),
        }
