# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
from ignite.engine import Engine, Events

from monai_semgan.handlers import TrainingProgress


def test_bar_counts_images_of_the_whole_training_from_where_it_resumes(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine(lambda engine, batch: {"loss": 0.5, "image": batch})
    progress = TrainingProgress(8, losses=["loss", "absent"])
    seen: list[Any] = []

    @engine.on(Events.STARTED)
    def resume(engine: Engine) -> None:
        engine.state.epoch, engine.state.iteration = 1, 3

    progress.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(progress.bar.n))
    engine.run([0, 1, 2], max_epochs=2)
    assert progress.bar.total == 6
    assert seen == [4, 5, 6]
    shown = capsys.readouterr().err
    assert "48/48" in shown and "images/s" in shown
    assert "epoch 2/2" in shown and "loss=0.500" in shown and "absent" not in shown
