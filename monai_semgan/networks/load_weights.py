# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Weights from a file into a network, with errors that say what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def load_weights(network: Network, path: str | os.PathLike[str], map_location: Any = "cpu") -> Network:
    """Load a state dict, strictly.

    Args:
        network: the network to load it into.
        path: file with the state dict, or with one under the name "model".
        map_location: device to load to.

    Returns:
        The network.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it does not hold this network's weights.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"weights {path} do not exist: put them there, name their file with --ckpt_path, "
            "or train them, see docs/README.md of the bundle"
        )
    try:
        state = torch.load(path, map_location=map_location, weights_only=True)
        network.load_state_dict(state.get("model", state))
    except Exception as error:  # torch.load raises whatever a damaged file leads to
        raise ValueError(f"weights {path} are damaged or another network's: {error}") from error
    return network
