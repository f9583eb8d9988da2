# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A training that lasts as long as it is given, and what it took."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events

from monai_semgan.handlers.protocols import Runs


class TimeBudget:
    """Set the number of epochs so that a training ends when its time is over, and keep a record of time and memory.

    After each epoch, ``max_epochs`` becomes those done and those that fit into what is left, at the seconds that an
    epoch took in this process. Learning rates that fall along the whole run follow, as they are functions of its
    share. At least one epoch is done. Attach it after :class:`monai_semgan.handlers.ResumableCheckpoint`, which sets
    the epoch of a run that goes on. Given more seconds, a finished run goes on too.

    The record is a JSON file with "seconds" (of all processes that worked on it one after the other), "epochs",
    "steps" and "peak_mb" (the largest resident memory of a process, or of the GPU).

    Args:
        path: the record.
        seconds: what all processes together may take, from when this object is made on; None leaves ``max_epochs`` as
            it is.

    Raises:
        ValueError: when the seconds are not positive.
    """

    def __init__(self, path: str | os.PathLike[str], *, seconds: float | None = None) -> None:
        if seconds is not None and seconds <= 0:
            raise ValueError(f"seconds is {seconds}, a training needs some")
        self.path = Path(path)
        self.seconds = seconds
        # reading the images counts too
        self.began = time.monotonic()
        self.first = 0.0
        self.before = read_record(self.path).get("seconds", 0.0)
        self.from_epoch = 0

    def attach(self, engine: Engine) -> None:
        """Follow the engine's epochs."""
        engine.add_event_handler(Events.STARTED, self.start)
        # before the end of the epoch, at which others ask whether it is the last
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.follow)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.keep)
        engine.add_event_handler(Events.COMPLETED, self.keep)

    @property
    def used(self) -> float:
        """Seconds used so far."""
        return self.before + time.monotonic() - self.began

    def start(self, engine: Runs) -> None:
        """Begin to measure; a run that goes on without time left ends at once."""
        self.first, self.from_epoch = time.monotonic(), engine.state.epoch
        if self.seconds is None or engine.state.epoch == 0:
            return
        per_epoch = self.before / engine.state.epoch
        self.set_end(engine, per_epoch)

    def follow(self, engine: Runs) -> None:
        """Set the last epoch anew at the end of each."""
        if self.seconds is None or engine.state.iteration % engine.state.epoch_length:
            return
        self.set_end(engine, (time.monotonic() - self.first) / max(1, engine.state.epoch - self.from_epoch))

    def set_end(self, engine: Runs, per_epoch: float) -> None:
        """Let the run end after the epochs that fit in; all processes of a run follow the first."""
        assert self.seconds is not None
        more = max(0, round((self.seconds - self.used) / max(per_epoch, 1e-6)))
        last = torch.tensor(engine.state.epoch + more, device=engine.state.device)
        if dist.is_available() and dist.is_initialized():
            dist.broadcast(last, 0)
        engine.state.max_epochs = max(1, int(last))

    def keep(self, engine: Runs) -> None:
        """Write the record, of several processes the first."""
        if dist.is_available() and dist.is_initialized() and dist.get_rank() != 0:
            return
        record = {
            "seconds": round(self.used, 1),
            "epochs": engine.state.epoch,
            "steps": engine.state.iteration,
            "peak_mb": max(read_record(self.path).get("peak_mb", 0), peak_memory(engine.state.device)),
        }
        write_record(self.path, record)


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of a training; empty where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write the record of a training in one piece, for :func:`read_record`; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


def peak_memory(device: torch.device) -> int:
    """Largest memory so far, in MiB: of the GPU that is used, or resident memory of the process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    if sys.platform == "win32":
        return 0
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used / (2**20 if sys.platform == "darwin" else 2**10))
