# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A GAN of a few thousand weights on random images, for tests; also a command, so that a test can kill it."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader
from monai_semgan.engines import AdaptiveAugmentation, GANSettings, Jitter, SemanticGANTrainer
from monai_semgan.handlers.checkpoints import ResumableCheckpoint
from monai_semgan.handlers.loss_curves import LossCurves
from monai_semgan.networks.nets import ImageDiscriminator, JointDiscriminator, SemanticGenerator
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation

EPOCHS, STEPS = 3, 4


def tiny_items(count: int, size: int = 16, image_channels: int = 1, label_channels: int = 1) -> list[dict[str, Any]]:
    """Random images with random labels, the same at every call."""
    generator = torch.Generator().manual_seed(count)
    return [
        {
            "image": torch.rand(image_channels, size, size, generator=generator) * 2 - 1,
            "label": torch.randint(max(2, label_channels), (1, size, size), generator=generator),
        }
        for _ in range(count)
    ]


def tiny_networks(
    size: int = 16, image_channels: int = 1, label_channels: int = 1
) -> tuple[SemanticGenerator, ImageDiscriminator, JointDiscriminator]:
    """Generator and discriminators with the same random weights at every call."""
    torch.manual_seed(0)
    return (
        SemanticGenerator(
            size=size,
            image_channels=image_channels,
            label_channels=label_channels,
            latent_dim=8,
            channel_base=64,
            channel_max=8,
            mapping_layers=2,
        ),
        ImageDiscriminator(size=size, in_channels=image_channels, channel_base=64, channel_max=8),
        JointDiscriminator(in_channels=image_channels + label_channels, num_scales=2, channels=4, num_layers=2),
    )


def tiny_trainer(
    *,
    size: int = 16,
    image_channels: int = 1,
    label_channels: int = 1,
    max_epochs: int = 1,
    steps: int = 2,
    batch_size: int = 4,
    pair_batch_size: int = 2,
    **settings: Any,
) -> SemanticGANTrainer:
    """A trainer whose regularisers act at nearly every step; settings are those of all of its parts."""
    shape = (size, image_channels, label_channels)
    loader = SemiSupervisedLoader(
        tiny_items(7, *shape),
        tiny_items(3, *shape),
        batch_size=batch_size,
        pair_batch_size=pair_batch_size,
        steps=steps,
    )
    generator, image_discriminator, joint_discriminator = tiny_networks(*shape)
    augmentation = DifferentiableAugmentation(p=0.5, scale=0.2, shift=0.1, rotate=10, brightness=0.2, noise=0.1)
    adaptive = AdaptiveAugmentation(
        settings.pop("augmentation", augmentation),
        settings.pop("pair_augmentation", None),
        **{name: settings.pop(name) for name in ("real_sign_target", "adaptation_images") if name in settings},
    )
    defaults: dict[str, Any] = {
        "device": "cpu",
        "train_data_loader": loader,
        "extensions": {"jitter": Jitter(DifferentiableAugmentation(shift=0.1)), "augmentation": adaptive},
    }
    names = [field.name for field in dataclasses.fields(GANSettings) if field.name in settings]
    intervals: dict[str, Any] = {"r1_interval": 2, "path_length_interval": 2}
    return SemanticGANTrainer(
        max_epochs=max_epochs,
        generator=generator,
        image_discriminator=image_discriminator,
        joint_discriminator=joint_discriminator,
        settings=GANSettings(**(intervals | {name: settings.pop(name) for name in names})),
        **(defaults | settings),
    )


def resumable_trainer(folder: Path, max_epochs: int = EPOCHS) -> SemanticGANTrainer:
    """A trainer that writes its state and its losses to ``folder``, with terms that run across the ends of epochs."""
    random.seed(0)
    np.random.seed(0)
    trainer = tiny_trainer(
        max_epochs=max_epochs,
        steps=STEPS,
        r1_interval=3,
        path_length_interval=5,
        real_sign_target=0.6,
        adaptation_images=50,
    )
    LossCurves(folder / "losses.csv", interval=100).attach(trainer)
    ResumableCheckpoint(folder / "state.pt").attach(trainer)
    return trainer


def main(folder: str, moment: str) -> None:
    """Train in ``folder`` and die at a moment: the number of an iteration, of an epoch's save, or never."""
    torch.set_num_threads(1)
    trainer = resumable_trainer(Path(folder))
    kind, _, number = moment.partition(":")

    def die(engine: Engine) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if kind == "iteration":
        # with the batch drawn, before any network moves
        trainer.add_event_handler(Events.ITERATION_STARTED(once=int(number)), lambda: setattr(trainer, "draw", die))
    if kind == "save":
        replace = os.replace

        def replace_or_die(source: str | Path, target: str | Path) -> None:
            if trainer.state.epoch == int(number) and Path(target).name == "state.pt":
                die(trainer)
            replace(source, target)

        os.replace = replace_or_die  # type: ignore[assignment]
    trainer.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
