# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Loading the weights of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader


class WeightsLoader(CheckpointLoader):
    """A strict ``CheckpointLoader`` of one network; when the run starts without the file, it says what to do.

    Args:
        load_path: file with the network's state dict.
        network: the network to load it into.
        map_location: device to load to.
    """

    def __init__(self, load_path: str, network: torch.nn.Module, map_location: Any = None) -> None:
        super().__init__(load_path=load_path, load_dict={"model": network}, map_location=map_location)

    def __call__(self, engine: Engine) -> None:
        """
        Args:
            engine: the engine that starts.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it does not hold this network's weights.
        """
        if not Path(self.load_path).is_file():
            raise FileNotFoundError(
                f"weights {self.load_path} do not exist: name the file with --ckpt_path, or train them"
            )
        try:
            super().__call__(engine)
        except Exception as error:  # torch.load raises whatever a damaged file leads to
            raise ValueError(f"weights {self.load_path} are damaged or another network's: {error}") from error
