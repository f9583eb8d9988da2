# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Scores of a patient's binary label map against its label, of the whole volume."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from monai.metrics import compute_average_surface_distance
from torch import Tensor

from monai_semgan.metrics.segmentation_scores import segmentation_scores

VOLUME_SCORES = (
    "dice",
    "hausdorff95_mm",
    "surface_distance_mm",
    "volume_ml",
    "label_volume_ml",
    "relative_volume_difference",
    "false_positive_voxels",
)


def volume_scores(pred: Tensor, label: Tensor, spacing: Sequence[float] | np.ndarray) -> dict[str, float]:
    r"""Compute scores of a volume on its own grid.

    - ``dice``: :math:`2|A \cap B| / (|A| + |B|)` over all voxels, 1 when both are empty.
    - ``hausdorff95_mm``: the 95 % Hausdorff distance; NaN when a mask is empty.
    - ``surface_distance_mm``: the average symmetric surface distance, the mean over the voxels of both surfaces of the
      distance to the other surface; NaN when a mask is empty.
    - ``volume_ml`` and ``label_volume_ml``: millilitres of the prediction, :math:`V_A`, and of the label, :math:`V_B`.
    - ``relative_volume_difference``: :math:`(V_A - V_B) / V_B`, negative when the prediction is too small; NaN when the
      label is empty.
    - ``false_positive_voxels``: predicted voxels on slices that have no label.

    Args:
        pred: binary mask, ``(row, column, slice)``.
        label: binary mask of the same shape.
        spacing: millimetres a voxel, one for each dimension.

    Returns:
        Values for each of :data:`VOLUME_SCORES`.

    Raises:
        ValueError: when the shapes differ, or the masks are no volumes.
    """
    if pred.shape != label.shape or pred.ndim != 3:
        raise ValueError(f"label of {tuple(label.shape)} voxels does not fit the volume of {tuple(pred.shape)} voxels")
    a, b = pred > 0, label > 0
    millilitres = float(np.prod(spacing)) / 1000
    volume, label_volume = a.sum().item() * millilitres, b.sum().item() * millilitres
    unlabelled = ~b.flatten(0, 1).any(0)
    false_positives = a[..., unlabelled].sum().item()
    if volume + label_volume > 0:
        # distances and overlap are those within the masks' bounds
        bounds = tuple(slice(int(index.min()), int(index.max()) + 1) for index in (a | b).nonzero(as_tuple=True))
        a, b = a[bounds], b[bounds]
    units = [float(value) for value in spacing]
    distance = math.nan
    if volume > 0 and label_volume > 0:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            distance = compute_average_surface_distance(
                a[None, None], b[None, None], include_background=True, symmetric=True, spacing=units
            ).item()
    return {
        **segmentation_scores(a, b, np.array(units), ("dice", "hausdorff95_mm")),
        "surface_distance_mm": distance,
        "volume_ml": volume,
        "label_volume_ml": label_volume,
        "relative_volume_difference": (volume - label_volume) / label_volume if label_volume else math.nan,
        "false_positive_voxels": float(false_positives),
    }


def slice_dice(mask: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Dice of each slice of a volume; of several classes the mean over those that mask or label show in the slice.

    Args:
        mask: class indices, ``(row, column, slice)``.
        label: class indices of the same shape.

    Returns:
        A value a slice, NaN where neither shows anything.
    """
    of_class = [(mask == value, label == value) for value in range(1, 1 + int(max(mask.max(), label.max(), 1)))]
    shared = np.stack([(one & other).sum((0, 1)) for one, other in of_class])
    total = np.stack([one.sum((0, 1)) + other.sum((0, 1)) for one, other in of_class])
    classes = (total > 0).sum(0)
    return np.where(classes > 0, (2 * shared / np.maximum(total, 1)).sum(0) / np.maximum(classes, 1), np.nan)
