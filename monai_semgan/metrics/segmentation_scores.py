# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Scores of a mask against its label, on the grid of the image: of each class, and of all."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou
from monai.utils import ensure_tuple
from torch import Tensor

# ISIC 2018 task 1: a lesion below this Jaccard index counts as missed
IOU_THRESHOLD = 0.65


SCORES = ("dice", "iou", "thresholded_iou", "hausdorff95_pixel", "hausdorff95_mm")
# of label maps of several classes alone: the Jaccard index averaged over background and all classes
MEAN_IOU = "mean_iou"
# of several classes these add up, all others are averaged
AMOUNTS = ("volume_ml", "label_volume_ml", "false_positive_voxels")


def class_columns(scores: Iterable[str], classes: Sequence[str]) -> tuple[str, ...]:
    """Names of scores with those of each class, such as "dice", "dice_right_lung", "dice_heart".

    Args:
        scores: names of scores.
        classes: names of the classes; a single one is what the scores are of.

    Returns:
        Each name, followed by those of the classes where there are several.
    """
    if len(classes) < 2:
        return tuple(scores)
    return tuple(column for name in scores for column in (name, *(f"{name}_{word(one)}" for one in own(name, classes))))


def word(name: str) -> str:
    """The name of a class as a part of a column's."""
    return name.replace(" ", "_")


def own(score: str, classes: Sequence[str]) -> Sequence[str]:
    """The classes that have a score of their own."""
    return [] if score == MEAN_IOU else classes


def label_map_scores(
    pred: Tensor,
    label: Tensor,
    classes: Sequence[str],
    compute: Callable[[Tensor, Tensor], Mapping[str, float]],
    mean_iou: bool = False,
) -> dict[str, float]:
    """Compute scores of a label map: of each class, and of all.

    The score of all is the mean over the classes that mask or label show, of volumes and counts of voxels the sum. A
    class that neither shows has no score, NaN; where none is shown at all, mask and label agree, a Dice of 1.

    Args:
        pred: class indices, ``(...)``.
        label: class indices of the same shape.
        classes: names of the classes, that of the index 1 first; of a single one the scores are those of its mask.
        compute: scores by name of a binary mask and its label.
        mean_iou: whether "mean_iou" is computed, the Jaccard index averaged over the classes and background, as for the
            parts of faces in Li et al., CVPR 2021, table 4.

    Returns:
        Values by the names of :func:`class_columns`.
    """
    if len(classes) < 2:
        return dict(compute(pred, label))
    table = []
    for index, name in enumerate(classes, 1):
        masks = pred == index, label == index
        table.append((word(name), compute(*masks), any(bool(mask.any()) for mask in masks)))
    # of an image without any class those of two empty masks
    counted = [found for _, found, shown in table if shown] or [table[0][1]]
    scores: dict[str, float] = {}
    for key in table[0][1]:
        values = [found[key] for found in counted if not math.isnan(found[key])]
        amount = key in AMOUNTS
        scores[key] = sum(values) if amount else float(np.mean(values)) if values else math.nan
        scores |= {f"{key}_{name}": found[key] if shown or amount else math.nan for name, found, shown in table}
    if mean_iou:
        present = torch.unique(torch.cat([pred.flatten(), label.flatten()])).tolist()
        scores[MEAN_IOU] = float(np.mean([jaccard(pred == index, label == index) for index in present]))
    return scores


def jaccard(a: Tensor, b: Tensor) -> float:
    """Share of the union of two masks, not both empty, that both have."""
    return ((a & b).sum() / (a | b).sum()).item()


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
