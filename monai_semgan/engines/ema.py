# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class ExponentialMovingAverage:
    r"""Average of a network's weights with a half-life in images (Karras et al., arXiv:2006.06676, appendix D).

    The decay of one update is :math:`\beta = 0.5^{b / h}` for a batch of b images and
    :math:`h = \min(\text{half-life}, \text{ramp-up} \cdot \text{images seen})`. Buffers are copied.

    Its state is the number of images seen, so that a training that starts from another's checkpoint goes on from the
    average there; the average's own weights are saved by themselves.

    Args:
        network: the network that trains.
        half_life: number of images after which a weight's share has halved.
        ramp_up: the half-life never exceeds this fraction of the images seen, so that early weights are forgotten.
    """

    def __init__(self, network: nn.Module, *, half_life: float = 10_000.0, ramp_up: float = 0.05) -> None:
        if half_life <= 0 or ramp_up <= 0:
            raise ValueError(f"half_life {half_life} and ramp_up {ramp_up} must be positive")
        self.network = network
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.half_life = half_life
        self.ramp_up = ramp_up
        self.images_seen = 0

    @torch.no_grad()
    def update(self, batch: int) -> None:
        """Move the average towards the network.

        Args:
            batch: number of images of the step just taken.
        """
        self.images_seen += batch
        decay = 0.5 ** (batch / max(min(self.half_life, self.ramp_up * self.images_seen), 1e-8))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1.0 - decay)
        for average, buffer in zip(self.average.buffers(), self.network.buffers()):
            average.copy_(buffer)

    def state_dict(self) -> dict[str, Any]:
        """The number of images seen."""
        return {"images_seen": self.images_seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` returned."""
        self.images_seen = state["images_seen"]
