# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Loading the weights of a bundle."""

from __future__ import annotations

import os
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from monai_semgan.networks.load_weights import load_weights


class WeightsLoader:
    """Load the weights of one network, strictly, when a run starts; see :func:`load_weights` for its errors.

    (MONAI's ``CheckpointLoader`` does not say what to do about a missing or damaged file.)

    Args:
        load_path: file with the network's state dict.
        network: the network to load it into.
        map_location: device to load to.
    """

    def __init__(self, load_path: str | os.PathLike[str], network: nn.Module, map_location: Any = None) -> None:
        self.load_path = load_path
        self.network = network
        self.map_location = map_location

    def attach(self, engine: Engine) -> None:
        """Load when the engine starts."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Load the weights; ``engine`` is not used."""
        load_weights(self.network, self.load_path, self.map_location)
