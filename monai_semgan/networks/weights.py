# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Weights from files into networks, with errors that say what to do."""

from __future__ import annotations

import logging
import os
import zipfile
from pathlib import Path
from typing import Any, TypeVar

import torch
from monai.networks.nets import UNet
from torch import nn

from monai_semgan.networks.nets import DiceCalibration, DomainCheck, SemanticGAN

logger = logging.getLogger(__name__)

# characters that are told of what torch says of a damaged file, which may be a page
LONGEST = 200

Network = TypeVar("Network", bound=nn.Module)


def read_state(path: str | os.PathLike[str], map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint or weights as plain data, of which nothing is executed.

    torch reads over flipped bits; the checksums that the file holds (CRC-32, of each tensor) tell them.

    Args:
        path: the file, of ``torch.save``.
        map_location: device to load to.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is damaged, or no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"the checksum of {damaged} differs")
        return torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch.load raises whatever a damaged file leads to
        told = " ".join(str(error).split())[:LONGEST] or type(error).__name__
        raise ValueError(f"{path} is damaged ({told}): copy it again, or delete it and train again") from error


def load_weights(network: Network, path: str | os.PathLike[str], map_location: Any = "cpu") -> Network:
    """Load a state dict, strictly; a :class:`SemanticGAN` goes without a student where the file holds none.

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
    state = read_state(path, map_location)
    try:
        state = state.get("model", state)
        if (
            isinstance(network, SemanticGAN)
            and network.student is not None
            and not any(name.startswith("student.") for name in state)
        ):
            logger.warning("%s hold no student: the generator answers alone", path)
            network.student = network.domain = None
        if isinstance(network, SemanticGAN):
            # of weights that were never calibrated
            unfitted = DiceCalibration().state_dict(prefix="calibration.")
            unfitted |= DiceCalibration().state_dict(prefix="slice_calibration.")
            if isinstance(network.student, UNet):
                unfitted |= DomainCheck(network.student.channels[-1]).state_dict(prefix="domain.")
            state = unfitted | state
        network.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ValueError(f"weights {path} are another network's: {error}") from error
    weights = dict(network.named_parameters())
    without = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if without or (weights and not any(value.any() for value in weights.values())):
        told = f"values that are not finite, as in {without[0]}" if without else "nothing but zeros"
        raise ValueError(f"weights {path} hold {told}: train them again, at a lower lr")
    return network


def load_generator(network: SemanticGAN, path: str | os.PathLike[str]) -> SemanticGAN:
    """Load the averaged generator of a GAN training into a network, whose encoder stays as it is, without a student.

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
    state = read_state(path)
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
    network.student = network.domain = None
    return network
