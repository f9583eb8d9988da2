# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from monai_semgan.metrics import SCORES, class_columns, label_map_scores, segmentation_scores, volume_scores

OVERLAPS = ("dice", "iou", "thresholded_iou")


def random_mask(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, 5, 5, generator=generator)
    return (torch.nn.functional.interpolate(coarse, size=(24, 30), mode="bilinear")[0, 0] > 0.5).float()


def surface(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask & ~binary_erosion(mask))


@pytest.mark.parametrize("seed", range(4))
def test_against_independent_computation(seed: int) -> None:
    pred, label = random_mask(seed), random_mask(seed + 10)
    a, b = pred.numpy() > 0, label.numpy() > 0
    scores = segmentation_scores(pred, label, np.array([0.5, 2.0]))
    assert list(scores) == list(SCORES)
    assert scores["dice"] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert scores["iou"] == pytest.approx((a & b).sum() / (a | b).sum())
    for name, spacing in (("hausdorff95_pixel", (1, 1)), ("hausdorff95_mm", (0.5, 2.0))):
        distances = cdist(surface(a) * spacing, surface(b) * spacing)
        expected = max(np.percentile(distances.min(axis=axis), 95) for axis in (0, 1))
        assert scores[name] == pytest.approx(expected, rel=1e-4)


# mostly agreeing pixels, so that Jaccard indices on both sides of the threshold are common
PAIRS = st.lists(st.sampled_from([(0, 0), (1, 1), (1, 1), (0, 1), (1, 0)]), min_size=1, max_size=30)


@given(PAIRS)
def test_overlaps_are_bounded_and_symmetric(pixels: list[tuple[int, int]]) -> None:
    pred, label = torch.tensor(pixels).T
    scores = segmentation_scores(pred, label, scores=OVERLAPS)
    dice, iou, thresholded = scores.values()
    assert 0 <= iou <= dice <= 1
    assert iou == pytest.approx(dice / (2 - dice))
    assert thresholded == (iou if iou >= 0.65 else 0)
    assert scores == segmentation_scores(label, pred, scores=OVERLAPS)


@pytest.mark.parametrize(("common", "thresholded"), [(12, 0), (13, 0.65), (14, 0.7)])
def test_a_jaccard_index_at_the_threshold_counts(common: int, thresholded: float) -> None:
    pred = torch.arange(20) < common
    scores = segmentation_scores(pred, torch.ones(20), scores=["iou", "thresholded_iou"])
    assert scores == pytest.approx({"iou": common / 20, "thresholded_iou": thresholded})


def test_empty_masks() -> None:
    empty, full = torch.zeros(8, 8), torch.ones(8, 8)
    agreed = segmentation_scores(empty, empty)
    assert [agreed[name] for name in OVERLAPS] == [1, 1, 1]
    for missed in (segmentation_scores(empty, full), segmentation_scores(full, empty)):
        assert [missed[name] for name in OVERLAPS] == [0, 0, 0]
    for scores in (agreed, missed):
        assert np.isnan(scores["hausdorff95_pixel"]) and np.isnan(scores["hausdorff95_mm"])


@pytest.mark.parametrize("names", ["jaccard", ["dice", "jaccard"], True])
def test_an_unknown_score_is_named_with_those_known(names: Any) -> None:
    with pytest.raises(ValueError, match=r"scores has \['jaccard'\]|scores has \[True\]"):
        segmentation_scores(torch.ones(8, 8), torch.ones(8, 8), scores=names)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        segmentation_scores(torch.zeros(8, 8), torch.zeros(8, 9))


@given(st.integers(2, 20), st.integers(1, 15), st.integers(1, 15), st.integers(0, 999))
def test_each_class_and_all_against_an_independent_computation(
    classes: int, rows: int, columns: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    # some classes are nowhere
    pred, label = (random.choice(random.integers(0, classes + 1, 5), (rows, columns)) for _ in range(2))
    names = [f"class {index}" for index in range(1, classes + 1)]
    compute = functools.partial(segmentation_scores, scores=("dice", "iou"))
    found = label_map_scores(torch.tensor(pred), torch.tensor(label), names, compute, mean_iou=True)
    assert set(found) == set(class_columns(("dice", "iou", "mean_iou"), names))
    dice, jaccard = {}, {}
    for index in range(classes + 1):
        a, b = pred == index, label == index
        if a.any() or b.any():
            dice[index] = 2 * (a & b).sum() / (a.sum() + b.sum())
            jaccard[index] = (a & b).sum() / (a | b).sum()
    for index in range(1, classes + 1):
        value = found[f"dice_class_{index}"]
        assert value == pytest.approx(dice[index]) if index in dice else np.isnan(value)
    assert found["mean_iou"] == pytest.approx(np.mean(list(jaccard.values())))
    dice.pop(0, None)
    assert found["dice"] == pytest.approx(np.mean(list(dice.values())) if dice else 1)


def test_one_class_has_the_scores_of_its_mask() -> None:
    pred, label = random_mask(0), random_mask(1)
    assert label_map_scores(pred, label, ["lung"], segmentation_scores).keys() == set(SCORES)
    assert (
        label_map_scores(pred, label, ["lung"], segmentation_scores)["dice"] == segmentation_scores(pred, label)["dice"]
    )
    assert class_columns(("dice", "iou"), ["lung"]) == ("dice", "iou")


def test_volumes_of_classes_add_up_and_distances_are_averaged() -> None:
    label = torch.zeros(8, 8, 4)
    label[1:4, 1:4, 1:3], label[5:7, 5:7, 1:3] = 1, 2
    pred = label.clone()
    pred[1, 1, 0] = 2
    found = label_map_scores(pred, label, ["a", "b", "c"], functools.partial(volume_scores, spacing=(1, 1, 10)))
    assert found["volume_ml"] == pytest.approx(0.27) and found["volume_ml_b"] == pytest.approx(0.09)
    assert found["volume_ml_c"] == 0 and np.isnan(found["dice_c"]) and found["dice_a"] == 1
    assert found["false_positive_voxels"] == 1 and found["relative_volume_difference"] == pytest.approx(0.0625)
