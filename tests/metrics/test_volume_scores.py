# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, distance_transform_edt

from monai_semgan.metrics import (
    MEAN_IOU,
    REPORTED_SCORES,
    SCORES,
    VOLUME_SCORES,
    known_scores,
    slice_dice,
    volume_scores,
)
from tests.volume_files import ellipsoid

SPACING = (0.5, 2.0, 5.0)


def box(start: tuple[int, int, int], shape: tuple[int, int, int] = (4, 3, 2)) -> torch.Tensor:
    mask = torch.zeros(12, 10, 6)
    mask[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))] = 1
    return mask


def test_equal_boxes() -> None:
    assert volume_scores(box((1, 1, 1)), box((1, 1, 1)), SPACING) == {
        "dice": 1,
        "hausdorff95_mm": 0,
        "surface_distance_mm": 0,
        # 24 voxels of 5 cubic millimetres
        "volume_ml": pytest.approx(0.12),
        "label_volume_ml": pytest.approx(0.12),
        "relative_volume_difference": 0,
        "false_positive_voxels": 0,
    }


@pytest.mark.parametrize("axis, distance", [(0, 0.5 * 6), (1, 2.0 * 5), (2, 5.0 * 3)])
def test_flat_boxes_apart_are_as_far_as_their_spacing_says(axis: int, distance: float) -> None:
    # one voxel thick: every surface voxel has its counterpart straight across
    shape = tuple(1 if a == axis else 3 for a in range(3))
    start = [1, 1, 1]
    start[axis] += {0: 6, 1: 5, 2: 3}[axis]
    scores = volume_scores(box((1, 1, 1), shape), box(tuple(start), shape), SPACING)
    assert scores["dice"] == 0
    assert scores["hausdorff95_mm"] == scores["surface_distance_mm"] == pytest.approx(distance)
    # along the third axis the slices with and without label differ
    assert scores["false_positive_voxels"] == (9 if axis == 2 else 0)


def test_volumes_and_overlap_of_a_longer_box() -> None:
    scores = volume_scores(box((1, 1, 1), (6, 3, 4)), box((1, 1, 1), (6, 3, 2)), SPACING)
    assert scores["relative_volume_difference"] == 1
    assert scores["volume_ml"] == pytest.approx(0.36) and scores["label_volume_ml"] == pytest.approx(0.18)
    assert scores["dice"] == pytest.approx(2 / 3)
    assert scores["false_positive_voxels"] == 6 * 3 * 2


def test_distances_agree_with_distance_maps() -> None:
    a, b = ellipsoid((14, 12, 9), 0.1, 0.7), ellipsoid((14, 12, 9), -0.1, 0.6)
    surfaces = [mask & ~binary_erosion(mask) for mask in (a, b)]
    to_a, to_b = (distance_transform_edt(~surface, sampling=SPACING) for surface in surfaces)
    from_a, from_b = to_b[surfaces[0]], to_a[surfaces[1]]
    scores = volume_scores(torch.tensor(a), torch.tensor(b), SPACING)
    expected = max(np.percentile(from_a, 95), np.percentile(from_b, 95))
    assert scores["hausdorff95_mm"] == pytest.approx(expected, rel=1e-3)
    assert scores["surface_distance_mm"] == pytest.approx(np.concatenate([from_a, from_b]).mean(), rel=1e-3)


@pytest.mark.parametrize(
    "pred, label, dice, difference, false_positives",
    [
        (torch.zeros(12, 10, 6), torch.zeros(12, 10, 6), 1, math.nan, 0),
        (box((1, 1, 1)), torch.zeros(12, 10, 6), 0, math.nan, 24),
        (torch.zeros(12, 10, 6), box((1, 1, 1)), 0, -1, 0),
    ],
)
def test_empty_masks(pred, label, dice: float, difference: float, false_positives: int) -> None:
    scores = volume_scores(pred, label, SPACING)
    assert tuple(scores) == VOLUME_SCORES
    assert scores["dice"] == dice and scores["false_positive_voxels"] == false_positives
    assert scores["relative_volume_difference"] == pytest.approx(difference, nan_ok=True)
    assert math.isnan(scores["hausdorff95_mm"]) and math.isnan(scores["surface_distance_mm"])


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"label of \(4, 4, 3\) voxels does not fit the volume of \(4, 4, 2\) voxels"):
        volume_scores(torch.zeros(4, 4, 2), torch.zeros(4, 4, 3), SPACING)


def test_reports_may_hold_scores_of_images_and_of_volumes() -> None:
    assert set(REPORTED_SCORES) == {*SCORES, MEAN_IOU, *VOLUME_SCORES}
    assert known_scores(VOLUME_SCORES, REPORTED_SCORES) == VOLUME_SCORES
    with pytest.raises(ValueError, match=r"\['volume_ml'\], known are \['dice'"):
        known_scores(["dice", "volume_ml"])


def test_dice_of_each_slice_is_the_mean_over_the_classes_it_shows() -> None:
    mask, label = np.zeros((2, 4, 4, 4), dtype=np.uint8)
    # slice 0 is empty; half of class 1 in slice 1; classes 1 and 2 in slice 2; class 2 is missed in slice 3
    mask[:2, :, 1], label[:, :, 1] = 1, 1
    mask[:2, :, 2], label[:2, :, 2] = 1, 1
    mask[2:, :2, 2], label[2:, :, 2] = 2, 2
    label[:, :, 3] = 2
    np.testing.assert_allclose(slice_dice(mask, label), [np.nan, 2 / 3, (1 + 2 / 3) / 2, 0])
