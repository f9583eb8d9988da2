# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The generator that the encoder's training starts from."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from monai_semgan.networks.nets import SemanticGAN


def load_generator(network: SemanticGAN, path: str | os.PathLike[str]) -> SemanticGAN:
    """Load the averaged generator of a GAN training into a network, whose encoder stays as it is.

    Args:
        network: generator and encoder.
        path: a checkpoint of :class:`monai_semgan.engines.SemanticGANTrainer`, or a bundle's weights.

    Returns:
        The network.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it holds no generator, or one of another architecture.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"generator {path} does not exist: train it first, or name its checkpoint")
    state = torch.load(path, map_location="cpu", weights_only=True)
    prefix = "generator."
    weights = state.get("generator_ema") or {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
    if not weights:
        raise ValueError(f"{path} holds no generator: name the checkpoint of a GAN training, or a bundle's weights")
    try:
        network.generator.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"the generator in {path} does not fit network_def: {error}") from error
    return network
