# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Validation of averaged weights, and what it says of a fine-tuning."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler

from monai_semgan.handlers.protocols import Averages, Streams


class AverageValidationHandler(ValidationHandler):
    """A ``ValidationHandler`` that puts the trainer's averaged network into the validator."""

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the trainer.
        """
        # the average is made after the handlers are attached
        engine.add_event_handler(Events.STARTED, self.start)
        super().attach(engine)

    def start(self, engine: Averages) -> None:
        """Give the average to the validator."""
        self.validator.network = engine.ema.average  # type: ignore[union-attr]


class FineTuneReport:
    """Write where weights come from, and the score on held-out labels before and after, to a JSON file.

    Attach it after :class:`monai_semgan.handlers.AverageValidationHandler` with ``exec_at_start``; without one, or
    without held-out labels, the scores are null.

    Args:
        path: the file.
        validator: the evaluator, whose key metric is the score.
        start: weights that the training started from; their file's name is written.
        labels: number of labelled items that were learned.
    """

    def __init__(self, path: str | os.PathLike[str], *, validator: Any, start: str, labels: int) -> None:
        self.path = Path(path)
        self.validator = validator
        self.start = start
        self.labels = labels
        self.scores: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Follow the validator, write when the engine is done."""
        self.validator.add_event_handler(Events.COMPLETED, self.take)
        engine.add_event_handler(Events.COMPLETED, self)

    def take(self, validator: Any) -> None:
        """Keep the score of a validation."""
        self.scores.append(float(validator.state.metrics[validator.state.key_metric_name]))

    def __call__(self, engine: Streams) -> None:
        """Write the file."""
        compared = len(self.scores) > 1
        report = {
            "start": Path(self.start).name,
            "labels": self.labels,
            "images": len(engine.loader.images),
            "steps": engine.state.iteration,
            "held_out_labels": len(self.validator.data_loader.dataset) if compared else 0,
            "dice_before": self.scores[0] if compared else None,
            "dice_after": self.scores[-1] if compared else None,
        }
        self.path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
