# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Validation of averaged weights."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler


class AverageValidationHandler(ValidationHandler):
    """A ``ValidationHandler`` that puts the trainer's averaged network, ``ema.average``, into the validator."""

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the trainer.
        """
        # the average is made after the handlers are attached
        engine.add_event_handler(Events.STARTED, self.start)
        super().attach(engine)

    def start(self, engine: Any) -> None:
        """Give the average to the validator."""
        self.validator.network = engine.ema.average  # type: ignore[union-attr]
