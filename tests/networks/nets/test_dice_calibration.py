# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_semgan.networks.nets import DiceCalibration
from monai_semgan.networks.nets.dice_calibration import slice_confidences, soft_dice_confidence

STRAIGHT = [[i / 7, i / 7] for i in range(8)]


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_confidence_in_closed_form() -> None:
    logits = torch.tensor([[[logit(0.9), logit(0.6)], [logit(0.2), logit(0.1)]]])
    assert soft_dice_confidence(logits) == pytest.approx(2 * 1.5 / (1.8 + 2), rel=1e-5)


def test_confidence_is_the_mean_over_the_classes_that_are_shown() -> None:
    logits = torch.randn(3, 4, 5)
    p = torch.softmax(logits, dim=0)
    mask = torch.nn.functional.one_hot(p.argmax(0), 3).movedim(2, 0)
    expected = [2 * (p[c] * mask[c]).sum() / (p[c].sum() + mask[c].sum()) for c in (1, 2)]
    assert soft_dice_confidence(logits) == pytest.approx(float(sum(expected)) / 2, rel=1e-5)
    # a class that the image does not show says nothing
    absent = torch.cat([logits, torch.full((1, 4, 5), -20.0)])
    assert soft_dice_confidence(absent) == pytest.approx(float(sum(expected)) / 2, rel=1e-5)


@pytest.mark.parametrize(("value", "expected"), [(-20.0, 1.0), (20.0, 1.0), (-0.01, 0.0)])
def test_confidence_of_masks_that_are_all_alike(value: float, expected: float) -> None:
    assert soft_dice_confidence(torch.full((1, 8, 8), value)) == pytest.approx(expected, abs=1e-4)


@given(st.integers(0, 1000), st.floats(0.1, 20))
def test_confidence_lies_between_0_and_1(seed: int, scale: float) -> None:
    logits = torch.randn(1, 6, 6, generator=torch.Generator().manual_seed(seed)) * scale
    assert 0 <= soft_dice_confidence(logits) <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_slices_without_a_mask_are_as_sure_as_those_beside_them(channels: int) -> None:
    logits = torch.randn(channels, 6, 6, 7, generator=torch.Generator().manual_seed(0))
    logits[0, ..., [0, 1, 3, 6]] = -9.0 if channels == 1 else 9.0
    own = [soft_dice_confidence(logits[..., k]) for k in range(7)]
    found = slice_confidences(logits)
    assert found == [1.0, own[2], own[2], min(own[2], own[4]), own[4], own[5], own[5]]
    assert slice_confidences(logits[..., :1]) == [1.0]


def test_nothing_is_predicted_before_a_fit_and_the_curve_after_it() -> None:
    calibration = DiceCalibration()
    assert calibration.predict(0.9) is None
    knots = [[0.5, 0.2], [0.6, 0.4], [0.7, 0.5], [0.8, 0.7], [0.9, 0.8], [0.95, 0.9], [0.98, 0.95], [1.0, 0.97]]
    calibration.fit(knots, [0.5, 0.25])
    found = calibration.predict(0.85)
    assert found is not None
    np.testing.assert_allclose(found[:3], [0.75, 0.75 - 0.5 * 0.26, 0.75 + 0.25 * 0.26], rtol=1e-5)
    lowest, highest = calibration.predict(0.0), calibration.predict(1.0)
    assert lowest is not None and highest is not None
    assert lowest.dice == pytest.approx(0.2) and highest.dice == pytest.approx(0.97) and highest.high <= 1
    again = DiceCalibration()
    again.load_state_dict(calibration.state_dict())
    assert again.predict(0.85) == found


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 3), st.floats(0, 3))
def test_predictions_rise_with_confidence_and_stay_in_range(a: float, b: float, below: float, above: float) -> None:
    calibration = DiceCalibration()
    calibration.fit(STRAIGHT, [below, above])
    low, high = (calibration.predict(value) for value in sorted((a, b)))
    assert low is not None and high is not None
    assert low.dice <= high.dice
    assert all(0 <= q.low <= q.dice <= q.high <= 1 for q in (low, high))


@pytest.mark.parametrize(
    ("knots", "margins", "message"),
    [
        (STRAIGHT[:3], [0, 0], "expected 8 pairs"),
        (STRAIGHT[::-1], [0, 0], "both rising"),
        ([*STRAIGHT[:-1], [1.0, 1.5]], [0, 0], r"in \[0, 1\]"),
        (STRAIGHT, [0.1], "expected two numbers"),
        (STRAIGHT, [0.1, -0.1], "expected two numbers"),
        (STRAIGHT, [float("nan"), 0.1], "expected two numbers"),
    ],
)
def test_what_is_no_calibration_is_refused(knots: Any, margins: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiceCalibration().fit(knots, margins)
