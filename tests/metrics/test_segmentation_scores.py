# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from monai_semgan.metrics import SCORES, segmentation_scores

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
