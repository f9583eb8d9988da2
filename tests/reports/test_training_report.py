# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_semgan.reports.training_report import bootstrap, cell, heading, plan_rows


def test_interval_of_the_mean_is_that_of_the_normal_law_for_many_patients():
    values = np.random.default_rng(0).normal(0.9, 0.05, 400)
    mean, low, high = bootstrap(values.tolist())
    error = 1.96 * values.std() / np.sqrt(400)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.1 * error)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_interval_holds_the_mean_and_lies_among_the_values(values):
    mean, low, high = bootstrap(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert bootstrap([*values, math.nan])[0] == pytest.approx(mean)


def test_words():
    assert all(math.isnan(value) for value in bootstrap([]))
    assert cell([{"dice": 0.5}, {"dice": 0.5}], "dice") == "0.500 (0.500 to 0.500)"
    assert cell([{"hausdorff95_mm": 12.25}], "hausdorff95_mm").startswith("12.2 (")
    assert cell([{"dice": math.nan}], "dice") == "–"
    assert heading("dice") == "Dice" and heading("hausdorff95_mm") == "hausdorff95, mm"


def test_plan_is_read_with_its_reasons(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("# comment\nsize: 64  # because\nclasses: {a: [1, 2, 3]}  # names\n")
    assert plan_rows(path) == [("size", "64", "because"), ("classes", "{a: [1, 2, 3]}", "names")]
    assert plan_rows(tmp_path / "none.yaml") == []
