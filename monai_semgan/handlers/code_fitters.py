# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What a network knows about the codes of its training images, fitted at the end of an encoder's training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from monai_semgan.handlers.protocols import AveragesOfStream
from monai_semgan.losses.perceptual import PerceptualDistance
from monai_semgan.networks.nets import SemanticGAN


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
        """Fit when the engine is done."""
        engine.add_event_handler(Events.COMPLETED, self)

    @torch.no_grad()
    def __call__(self, engine: AveragesOfStream) -> None:
        """Encode images of ``engine``'s stream and fit the prior to their codes."""
        network = engine.ema.average
        batches = training_images(engine.loader.images, self.images, self.batch_size)
        network.prior.fit(torch.cat([network.encode(images.to(engine.state.device)) for images in batches]))


class PreconditionerFitter:
    """Fit the averaged network's :class:`monai_semgan.networks.nets.WPlusPreconditioner` to the training images.

    The features are those that refinement compares by default: of the network's own encoder, and the pixels. Attach it
    before :class:`monai_semgan.handlers.WeightsSaver`.

    Args:
        images: number of images, spread evenly over the stream; all where there are fewer.
        gradients: number of gradients in all, at least as many as the preconditioner has components.
        l2_weight: weight of the pixels beside the features.
        batch_size: images of a gradient's batch.
    """

    def __init__(self, images: int = 256, gradients: int = 2048, l2_weight: float = 0.1, batch_size: int = 16) -> None:
        self.images = images
        self.gradients = gradients
        self.l2_weight = l2_weight
        self.batch_size = batch_size
        self.distance = PerceptualDistance("encoder")

    def attach(self, engine: Engine) -> None:
        """Fit when the engine is done."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: AveragesOfStream) -> None:
        """Draw gradients at the codes of images of ``engine``'s stream and fit the preconditioner to them."""
        network, device = engine.ema.average, engine.state.device
        drawn: list[Tensor] = []
        with torch.random.fork_rng(devices=[]), torch.autocast(device.type, enabled=False):
            torch.manual_seed(0)
            while sum(map(len, drawn)) < self.gradients:
                for images in training_images(engine.loader.images, self.images, self.batch_size):
                    drawn.append(self.random_gradient(images.to(device), network))
        network.preconditioner.fit(torch.cat(drawn))

    def random_gradient(self, images: Tensor, network: SemanticGAN) -> Tensor:
        """Gradient of randomly weighted features of the redrawn images in their codes, ``(B, N, D)``."""
        with torch.no_grad():
            codes = network.encode(images)
        with torch.enable_grad():
            codes.requires_grad_()
            reconstruction = network.decode(codes)[0]
            levels = self.distance.features(reconstruction, network)
            # the distance is a mean over levels and places, so residuals carry the square roots of these shares
            parts = [(level, math.sqrt(1 / (len(levels) * level[0, 0].numel()))) for level in levels]
            parts.append((reconstruction, math.sqrt(self.l2_weight / reconstruction[0].numel())))
            weighted = torch.stack([(values * torch.randn_like(values)).sum() * share for values, share in parts])
            return torch.autograd.grad(weighted.sum(), codes)[0]


def training_images(stream: Sequence[Mapping[str, Any]], number: int, batch_size: int) -> Iterator[Tensor]:
    """Give batches of at most so many images, spread evenly over a stream of items, ``(B, C, H, W)`` each."""
    count = min(number, len(stream))
    indices = [index * len(stream) // count for index in range(count)]
    for start in range(0, count, batch_size):
        yield torch.stack([torch.as_tensor(stream[index]["image"]) for index in indices[start : start + batch_size]])
