# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import time

import pytest
import torch
from ignite.engine import Engine

from monai_semgan.handlers import TimeBudget

STEP = 0.02


def run(path, seconds, *, epochs=3, steps=5, begin=0):
    """Run an engine of slow steps and return its epochs and the time."""
    engine = Engine(lambda engine, batch: time.sleep(STEP))
    engine.state.device = torch.device("cpu")
    budget = TimeBudget(path, seconds=seconds)

    def resume(engine):
        engine.state.epoch, engine.state.iteration = begin, begin * steps

    if begin:
        from ignite.engine import Events

        engine.add_event_handler(Events.STARTED, resume)
    budget.attach(engine)
    began = time.monotonic()
    engine.run(range(steps), max_epochs=epochs)
    return engine.state.epoch, time.monotonic() - began


@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_lasts_as_long_as_it_is_given(tmp_path, seconds):
    epochs, took = run(tmp_path / "time.json", seconds)
    assert took == pytest.approx(seconds, rel=0.5)
    record = json.loads((tmp_path / "time.json").read_text())
    assert record["epochs"] == epochs and record["steps"] == 5 * epochs
    assert record["seconds"] == pytest.approx(took, abs=0.3) and record["peak_mb"] > 0


def test_without_a_limit_the_epochs_stay(tmp_path):
    assert run(tmp_path / "time.json", None, epochs=2)[0] == 2


def test_at_least_one_epoch(tmp_path):
    assert run(tmp_path / "time.json", 1e-3)[0] == 1


def test_a_finished_run_does_no_step_and_more_time_lengthens_it(tmp_path):
    path = tmp_path / "time.json"
    path.write_text(json.dumps({"seconds": 1.0, "epochs": 10}))
    assert run(path, 1.0, begin=10, epochs=10)[0] == 10
    path.write_text(json.dumps({"seconds": 1.0, "epochs": 10}))
    assert run(path, 2.0, begin=10, epochs=10)[0] > 12


def test_seconds_have_to_be_positive(tmp_path):
    with pytest.raises(ValueError, match="seconds is 0"):
        TimeBudget(tmp_path / "time.json", seconds=0)
