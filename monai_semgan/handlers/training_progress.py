# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A progress bar over a whole training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ignite.engine import Engine, Events
from tqdm import tqdm

from monai_semgan.handlers.loss_curves import floats
from monai_semgan.handlers.protocols import Runs


class TrainingProgress:
    """Show images done, images per second, the time left until the last epoch, and losses.

    (ignite's ``ProgressBar`` counts the iterations of an epoch and so tells the time left in that alone.)

    Args:
        images_per_step: images that one iteration takes.
        losses: names of the floats of ``state.output`` to show.
    """

    def __init__(self, images_per_step: int = 1, *, losses: Sequence[str] = ("loss",)) -> None:
        self.images_per_step = images_per_step
        self.losses = tuple(losses)
        self.bar: Any = None

    def attach(self, engine: Engine) -> None:
        """Follow the engine; attach after the checkpoint handler, which sets the iteration."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.update)
        engine.add_event_handler(Events.COMPLETED, self.close)

    def start(self, engine: Runs) -> None:
        """Open the bar at the engine's iteration."""
        self.bar = tqdm(
            total=engine.state.max_epochs * engine.state.epoch_length,
            initial=engine.state.iteration,
            unit=" images",
            unit_scale=self.images_per_step,
            mininterval=1.0,
            dynamic_ncols=True,
        )

    def update(self, engine: Runs) -> None:
        """Count an iteration."""
        values = floats(engine.state.output)
        shown = {name: f"{values[name]:.3f}" for name in self.losses if name in values}
        self.bar.set_postfix(shown, refresh=False)
        # a run that lasts for a given time learns on the way how many epochs that is
        self.bar.total = engine.state.max_epochs * engine.state.epoch_length
        self.bar.set_description(f"epoch {engine.state.epoch}/{engine.state.max_epochs}", refresh=False)
        self.bar.update()

    def close(self, engine: Engine) -> None:
        """Leave the bar as it stands."""
        self.bar.close()
