# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Fitting the distribution of codes at the end of an encoder's training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor


class PriorFitter:
    """Fit the averaged network's :class:`monai_semgan.networks.nets.WPlusPrior` to the codes of the training images.

    Attach it before :class:`monai_semgan.handlers.WeightsSaver`.

    Args:
        images: number of images, spread evenly over the stream; all where there are fewer.
        batch_size: images encoded together.
    """

    def __init__(self, images: int = 1000, batch_size: int = 32) -> None:
        self.images = images
        self.batch_size = batch_size

    def attach(self, engine: Engine) -> None:
        """Fit when the engine is done; it needs ``ema.average`` and ``loader.images``."""
        engine.add_event_handler(Events.COMPLETED, self)

    @torch.no_grad()
    def __call__(self, engine: Any) -> None:
        """Encode images of ``engine``'s stream and fit the prior to their codes."""
        network = engine.ema.average
        batches = training_images(engine.loader.images, self.images, self.batch_size)
        network.prior.fit(torch.cat([network.encode(images.to(engine.state.device)) for images in batches]))


def training_images(stream: Sequence[Mapping[str, Any]], number: int, batch_size: int) -> Iterator[Tensor]:
    """Give batches of at most so many images, spread evenly over a stream of items, ``(B, C, H, W)`` each."""
    count = min(number, len(stream))
    indices = [index * len(stream) // count for index in range(count)]
    for start in range(0, count, batch_size):
        yield torch.stack([torch.as_tensor(stream[index]["image"]) for index in indices[start : start + batch_size]])
