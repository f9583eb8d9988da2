# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from monai_semgan.metrics import SCORES, segmentation_scores


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
    assert tuple(scores) == SCORES
    assert scores["dice"] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert scores["iou"] == pytest.approx((a & b).sum() / (a | b).sum())
    for name, spacing in (("hausdorff95_pixel", (1, 1)), ("hausdorff95_mm", (0.5, 2.0))):
        distances = cdist(surface(a) * spacing, surface(b) * spacing)
        expected = max(np.percentile(distances.min(axis=axis), 95) for axis in (0, 1))
        assert scores[name] == pytest.approx(expected, rel=1e-4)


def test_empty_masks() -> None:
    empty, full = torch.zeros(8, 8), torch.ones(8, 8)
    assert segmentation_scores(empty, empty)["dice"] == segmentation_scores(empty, empty)["iou"] == 1
    missed = segmentation_scores(empty, full)
    assert missed["dice"] == missed["iou"] == 0
    assert np.isnan(missed["hausdorff95_pixel"]) and np.isnan(missed["hausdorff95_mm"])


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        segmentation_scores(torch.zeros(8, 8), torch.zeros(8, 9))
