# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Fitting the distribution of codes at the end of an encoder's training."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events


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
        network, stream = engine.ema.average, engine.loader.images
        count = min(self.images, len(stream))
        indices = [index * len(stream) // count for index in range(count)]
        codes = []
        for start in range(0, count, self.batch_size):
            images = [torch.as_tensor(stream[index]["image"]) for index in indices[start : start + self.batch_size]]
            codes.append(network.encode(torch.stack(images).to(engine.state.device)))
        network.prior.fit(torch.cat(codes))
