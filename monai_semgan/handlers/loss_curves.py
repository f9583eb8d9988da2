# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Loss curves written while a trainer runs."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import matplotlib.figure
from ignite.engine import Engine, Events

from monai_semgan.handlers.protocols import Runs


class LossCurves:
    """Write the mean of every loss over each epoch to a CSV file and draw the curves beside it.

    Every float of ``state.output`` counts as a loss. Rows of a run that resumes are kept up to its epoch. Attach it
    before the checkpoint handler, so that a kill between the two leaves no epoch without its row.

    Args:
        path: the CSV file; the picture has the same name with the suffix .png.
        interval: epochs from one picture to the next; the last epoch is always drawn.
    """

    def __init__(self, path: str | os.PathLike[str], *, interval: int = 10) -> None:
        self.path = Path(path)
        self.interval = interval
        self.sums: dict[str, float] = {}
        self.rows: list[dict[str, float]] = []

    def attach(self, engine: Engine) -> None:
        """Follow the engine's iterations and epochs."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)

    def start(self, engine: Engine) -> None:
        """Read the rows of the run that may go on."""
        self.sums, self.rows = {}, []
        if self.path.exists():
            with self.path.open(newline="") as file:
                rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
            self.rows = [row | {"epoch": int(row["epoch"])} for row in rows]

    def add(self, engine: Runs) -> None:
        """Add the losses of an iteration."""
        for name, value in floats(engine.state.output).items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def write(self, engine: Runs) -> None:
        """Append the epoch's row, and draw where the interval asks for it."""
        means = {name: total / engine.state.epoch_length for name, total in self.sums.items()}
        # rows from this epoch on are of a run that was interrupted, or of another one
        self.rows = [row for row in self.rows if row["epoch"] < engine.state.epoch]
        self.rows.append({"epoch": engine.state.epoch} | means)
        self.sums = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(self.path.suffix + ".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(partial, self.path)
        if engine.state.epoch % self.interval == 0 or engine.state.epoch == engine.state.max_epochs:
            self.draw()

    def draw(self) -> None:
        """Draw one panel a loss."""
        names = [name for name in self.rows[0] if name != "epoch"]
        columns = min(4, len(names))
        lines = -(-len(names) // columns)
        figure = matplotlib.figure.Figure(figsize=(3.2 * columns, 2.2 * lines), layout="constrained")
        for index, name in enumerate(names):
            axes = figure.add_subplot(lines, columns, index + 1)
            axes.plot([row["epoch"] for row in self.rows], [row[name] for row in self.rows], linewidth=1)
            axes.set_title(name, fontsize=9)
            axes.tick_params(labelsize=7)
        figure.savefig(self.path.with_suffix(".png"), dpi=100)


def floats(output: Any) -> dict[str, float]:
    """The floats among an engine's output, which MONAI keeps as one dictionary or one per image."""
    first = output[0] if isinstance(output, list) else output
    return {str(name): value for name, value in first.items() if isinstance(value, float)}
