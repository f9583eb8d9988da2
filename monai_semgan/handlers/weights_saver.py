# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Writing the weights of a bundle."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events


class WeightsSaver:
    """Write the averaged weights at the end of a training: a plain state dict, what a bundle ships and nothing else.

    Args:
        path: the file, such as ``models/model.pt``; its folder is made, and it is replaced atomically.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.logger = logging.getLogger(type(self).__module__)

    def attach(self, engine: Engine) -> None:
        """Save when the engine is done; it needs ``ema.average``."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        """Write the weights of ``engine``'s averaged network, on the CPU."""
        state = {name: value.cpu() for name, value in engine.ema.average.state_dict().items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(self.path.suffix + ".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)
        self.logger.info(f"weights: {self.path}")
