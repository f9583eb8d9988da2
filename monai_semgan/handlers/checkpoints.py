# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Checkpoints of a training, from which it goes on, and the weights that a bundle ships."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_semgan.handlers.protocols import Averages, Resumable
from monai_semgan.networks.weights import read_state


class ResumableCheckpoint:
    """Save a training's whole state at the end of epochs and take it up again when the same command runs once more.

    Beside the trainer's own objects the file holds the iteration, the numbers in ``lazy`` (last values of terms that do
    not run at every step) and the states of all random number generators; the data loader is set to the iteration.
    The file is replaced atomically, so a kill at any moment leaves the last whole checkpoint, and the steps since then
    are repeated with the same numbers. Of several processes the first saves, and all load.

    Args:
        path: the checkpoint file; its folder is made.
        interval: epochs from one save to the next; the last epoch is always saved.
        warm_start: another training's checkpoint. Where ``path`` does not exist yet, its networks, optimisers and the
            like are taken up; epoch, iteration and random numbers begin anew.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, interval: int = 1, warm_start: str | os.PathLike[str] | None = None
    ) -> None:
        self.path = Path(path)
        self.interval = interval
        self.warm_start = None if warm_start is None else Path(warm_start)
        self.logger = logging.getLogger(type(self).__module__)

    def attach(self, engine: Engine) -> None:
        """Load at the start, save at the end of epochs."""
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def save(self, engine: Resumable) -> None:
        """Write the state of ``engine``, where the interval asks for it.

        Raises:
            FloatingPointError: when a weight is not finite; the file is left as it was.
        """
        epoch = engine.state.epoch
        if idist.get_rank() != 0 or (epoch % self.interval and epoch != engine.state.max_epochs):
            return
        state = {name: item.state_dict() for name, item in engine.checkpoint.items()}
        for name, item in engine.checkpoint.items():
            if isinstance(item, nn.Module) and not all(torch.isfinite(x).all() for x in item.state_dict().values()):
                raise FloatingPointError(
                    f"{name} holds values that are not finite after epoch {epoch}: lower lr or switch amp off; "
                    "the last checkpoint is intact"
                )
        state |= {"epoch": epoch, "iteration": engine.state.iteration, "random": random_state()}
        state["lazy"] = dict(engine.lazy)
        save_whole(state, self.path)

    def load(self, engine: Resumable) -> None:
        """Take up the state in the file, if there is one.

        Raises:
            FileNotFoundError: when the checkpoint for a warm start does not exist.
            ValueError: when the file does not hold this trainer's objects or has epochs of another length.
        """
        resumes = self.path.exists()
        path = self.path if resumes else self.warm_start
        if path is None:
            return
        state = read_state(path, engine.state.device)
        if missing := set(engine.checkpoint) - set(state):
            raise ValueError(f"{path} lacks {sorted(missing)}: it is another trainer's checkpoint, give a new path")
        for name, item in engine.checkpoint.items():
            item.load_state_dict(state[name])
        if not resumes:
            self.logger.info(f"started from {path}")
            return
        if state["iteration"] != state["epoch"] * len(engine.loader):
            raise ValueError(
                f"{path} was written after {state['iteration']} steps in {state['epoch']} epochs, now an epoch has "
                f"{len(engine.loader)}: keep the steps per epoch of the run, or give a new path"
            )
        engine.state.epoch, engine.state.iteration = state["epoch"], state["iteration"]
        engine.loader.step = state["iteration"]
        engine.lazy.update(state.get("lazy", {}))
        restore_random_state(state["random"])
        self.logger.info(f"resumed from {self.path} at epoch {engine.state.epoch}")


def save_whole(state: Any, path: Path) -> None:
    """Write a file in one piece, so that an interruption or a full disk leaves the one before; its folder is made.

    Raises:
        OSError: when it cannot be written; what was written of it is gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(path.suffix + ".partial")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            # else a rename may reach the disk before the content does
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        # torch tells of a full disk as a broken stream; the cause is what it was handling
        cause = error if isinstance(error, OSError) else error.__context__
        partial.unlink(missing_ok=True)
        why = cause.strerror if isinstance(cause, OSError) else str(error).splitlines()[0]
        raise OSError(f"{path} cannot be written ({why}): make room, then run the same command again") from error


def random_state() -> dict[str, Any]:
    """States of Python's, NumPy's and torch's random number generators, as what ``weights_only`` loading accepts."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Set all generators to what :func:`random_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([cuda.cpu() for cuda in state["cuda"]])


class WeightsSaver:
    """Write the averaged weights at the end of a training: a plain state dict, what a bundle ships and nothing else.

    Args:
        path: the file, such as ``models/model.pt``; its folder is made, and it is replaced atomically.
        prefix: put before the names of the weights, such as ``"student."`` of a network that is part of another.
        beside: the other's weights, of which all that does not begin with the prefix goes into the file too.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, prefix: str = "", beside: str | os.PathLike[str] | None = None
    ) -> None:
        self.path = Path(path)
        self.prefix = prefix
        self.beside = beside
        self.logger = logging.getLogger(type(self).__module__)

    def attach(self, engine: Engine) -> None:
        """Save when the engine is done."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Averages) -> None:
        """Write the weights of ``engine``'s averaged network, on the CPU."""
        save_beside(engine.ema.average.state_dict(), self.path, self.prefix, self.beside)
        self.logger.info(f"weights: {self.path}")


def save_beside(
    weights: Mapping[str, torch.Tensor],
    path: Path,
    prefix: str = "",
    beside: str | os.PathLike[str] | None = None,
) -> None:
    """Write the weights of a network, or put them beside those of another; see :class:`WeightsSaver`."""
    whole = {} if beside is None else read_state(beside)
    state = {name: value for name, value in whole.items() if not name.startswith(prefix)}
    save_whole(state | {prefix + name: value.cpu() for name, value in weights.items()}, path)
