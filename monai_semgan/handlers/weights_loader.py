# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Loading the weights of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from monai.handlers import CheckpointLoader


class WeightsLoader(CheckpointLoader):
    """A strict ``CheckpointLoader`` of one network, that says what to do when the file is missing.

    Args:
        load_path: file with the network's state dict.
        network: the network to load it into.
        map_location: device to load to.

    Raises:
        FileNotFoundError: when there is no such file.
    """

    def __init__(self, load_path: str, network: torch.nn.Module, map_location: Any = None) -> None:
        if not Path(load_path).is_file():
            raise FileNotFoundError(f"weights {load_path} do not exist: name the file with --ckpt_path, or train them")
        super().__init__(load_path=load_path, load_dict={"model": network}, map_location=map_location)
