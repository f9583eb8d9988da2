# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Fitting the preconditioner of refinement at the end of an encoder's training."""

from __future__ import annotations

import math
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from monai_semgan.handlers.prior_fitter import training_images
from monai_semgan.losses.perceptual import PerceptualDistance
from monai_semgan.networks.nets import SemanticGAN


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
        """Fit when the engine is done; it needs ``ema.average`` and ``loader.images``."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Any) -> None:
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
