# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Scores of one binary mask against its label, on the grid of the image."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import numpy as np
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou
from monai.utils import ensure_tuple
from torch import Tensor

# ISIC 2018 task 1: a lesion below this Jaccard index counts as missed
IOU_THRESHOLD = 0.65


SCORES = ("dice", "iou", "thresholded_iou", "hausdorff95_pixel", "hausdorff95_mm")


def known_scores(names: Iterable[str], known: Iterable[str] = SCORES) -> tuple[str, ...]:
    """Check names of scores.

    Args:
        names: names of scores, or one.
        known: the names there are.

    Returns:
        The names.

    Raises:
        ValueError: when one is unknown.
    """
    names, known = ensure_tuple(names), tuple(known)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"scores has {unknown}, known are {list(known)}")
    return names


def segmentation_scores(
    pred: Tensor, label: Tensor, spacing: np.ndarray | None = None, scores: Iterable[str] = SCORES
) -> dict[str, float]:
    r"""Compute scores of a mask.

    - ``dice``: :math:`2|A \cap B| / (|A| + |B|)`.
    - ``iou``: the Jaccard index, :math:`|A \cap B| / |A \cup B|`.
    - ``thresholded_iou``: the Jaccard index, or 0 where it is below 0.65, as in task 1 of the ISIC challenge of 2018.
    - ``hausdorff95_pixel``, ``hausdorff95_mm``: the 95 % Hausdorff distance, the larger of the two 95th percentiles of
      distances from one surface to the other.

    Two empty masks agree: Dice and both Jaccard indices are 1; they are 0 if only one is empty. A distance to an empty
    mask is not defined and NaN.

    Args:
        pred: binary mask, ``(...)``.
        label: binary mask of the same shape.
        spacing: millimetres a pixel, one for each dimension; None if not known.
        scores: names of those to compute; all by default.

    Returns:
        Values by name; the distance in millimetres is NaN where the spacing is not known.

    Raises:
        ValueError: when the shapes differ, or a score is unknown.
    """
    if pred.shape != label.shape:
        raise ValueError(f"label of {tuple(label.shape)} does not fit the image of {tuple(pred.shape)} pixels")
    # in single precision 13 / 20 would be below 0.65
    a, b = (mask.double()[None, None] for mask in (pred, label))

    def iou() -> float:
        return compute_iou(a, b, ignore_empty=False).item()

    def hausdorff95(units: np.ndarray | None) -> float:
        if units is None or not (a.any() and b.any()):
            return float("nan")
        return compute_hausdorff_distance(
            a, b, include_background=True, percentile=95, spacing=[float(value) for value in units]
        ).item()

    compute: dict[str, Callable[[], float]] = {
        "dice": lambda: compute_dice(a, b, ignore_empty=False).item(),
        "iou": iou,
        "thresholded_iou": lambda: iou() if iou() >= IOU_THRESHOLD else 0.0,
        "hausdorff95_pixel": lambda: hausdorff95(np.ones(pred.ndim)),
        "hausdorff95_mm": lambda: hausdorff95(spacing),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: compute[name]() for name in known_scores(scores)}
