# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Sample grids written while the generator trains."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from torch import Tensor
from torchvision.utils import save_image

from monai_semgan.handlers.protocols import Averages
from monai_semgan.networks.label_map import logits_to_map


class SampleGrid:
    """Write a PNG of images drawn from fixed latents, each above its label map, at the end of epochs.

    Args:
        output_dir: folder of the pictures, made when missing.
        interval: epochs from one picture to the next; the last epoch is always drawn.
        columns: number of samples.
        seed: seed of the latents.
    """

    def __init__(
        self, output_dir: str | os.PathLike[str], *, interval: int = 10, columns: int = 8, seed: int = 0
    ) -> None:
        self.output_dir = Path(output_dir)
        self.interval = interval
        self.columns = columns
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Draw at the end of epochs; the average is a :class:`SemanticGenerator`."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Averages) -> None:
        """Draw the samples of ``engine``'s averaged generator, where the interval asks for it."""
        if engine.state.epoch % self.interval and engine.state.epoch != engine.state.max_epochs:
            return
        generator = engine.ema.average
        random = torch.Generator(engine.state.device).manual_seed(self.seed)
        image, logits = generator.sample(self.columns, generator=random)
        self.output_dir.mkdir(parents=True, exist_ok=True)
        tiles = torch.cat([image, label_tiles(logits, image.shape[1])])
        save_image(
            tiles,
            self.output_dir / f"samples_{engine.state.epoch:05d}.png",
            nrow=self.columns,
            normalize=True,
            value_range=(-1, 1),
        )


def label_tiles(logits: Tensor, channels: int) -> Tensor:
    """Label logits as grey tiles in [-1, 1]: foreground probability, or class index spread over the range."""
    if logits.shape[1] == 1:
        return logits_to_map(logits).expand(-1, channels, -1, -1)
    index = logits.argmax(1, keepdim=True).float()
    return (index / (logits.shape[1] - 1) * 2 - 1).expand(-1, channels, -1, -1)
