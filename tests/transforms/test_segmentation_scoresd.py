# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_semgan.transforms import SegmentationScoresd
from tests.image_files import oblique_affine


def block(start: int, shape: tuple[int, ...] = (20, 20)) -> torch.Tensor:
    mask = torch.zeros(shape)
    mask[start : start + 8, 4:16] = 1
    return mask


@pytest.mark.parametrize("unit, expected", [("mm", 2 * 0.5), ("pixel", np.nan)])
def test_millimetres_follow_the_affine(unit: str, expected: float) -> None:
    pred = MetaTensor(block(4), affine=oblique_affine(), meta={"spacing_unit": unit})
    scores = SegmentationScoresd("pred")({"pred": pred, "label": block(6)[None]})["scores"]
    assert scores["dice"] == pytest.approx(6 / 8)
    assert scores["hausdorff95_pixel"] == pytest.approx(2)
    np.testing.assert_allclose(scores["hausdorff95_mm"], expected, rtol=1e-5)


def test_only_the_listed_scores_are_computed() -> None:
    scored = SegmentationScoresd("pred", scores=["iou", "dice"])
    scores = scored({"pred": block(4), "label": block(6)[None]})["scores"]
    assert list(scores.items()) == [("iou", pytest.approx(6 / 10)), ("dice", pytest.approx(6 / 8))]
    with pytest.raises(ValueError, match="jaccard"):
        SegmentationScoresd("pred", scores=["jaccard"])


def test_channel_may_be_there_and_sizes_must_agree() -> None:
    scored = SegmentationScoresd("pred")
    assert scored({"pred": block(4)[None], "label": block(4)[None]})["scores"]["dice"] == 1
    with pytest.raises(ValueError, match=r"label of \(20, 30\) does not fit the image of \(20, 20\) pixels"):
        scored({"pred": block(4), "label": block(4, (20, 30))[None]})
