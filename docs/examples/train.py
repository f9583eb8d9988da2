# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Both trainings on images that this script draws: discs on noise, three of them with a label.

``python train.py`` takes seconds and writes gan/ and encoder/ with losses, samples and checkpoints, and model.pt. The
networks are as small as the images; real ones take configs, ``semgan train``.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from monai_semgan.data import SemiSupervisedLoader
from monai_semgan.engines import EncoderTrainer, SemanticGANTrainer
from monai_semgan.handlers import LossCurves, ResumableCheckpoint, SampleGrid
from monai_semgan.inferers import WPlusInferer
from monai_semgan.losses import EncoderLoss
from monai_semgan.networks.nets import ImageDiscriminator, JointDiscriminator, SemanticGAN

SIZE = 32


def disc() -> dict[str, Tensor]:
    """An image in [-1, 1] and its mask, ``(1, SIZE, SIZE)`` both."""
    y, x, radius = torch.rand(3).tolist()
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    distance = ((rows - SIZE * (0.35 + 0.3 * y)) ** 2 + (columns - SIZE * (0.35 + 0.3 * x)) ** 2).sqrt()
    mask = (distance < SIZE * (0.15 + 0.15 * radius)).float()[None]
    return {"image": (1.2 * mask - 0.6 + 0.05 * torch.randn_like(mask)).clamp(-1, 1), "label": mask}


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=2, help="of both trainings; 30 give good masks in minutes")
parser.add_argument("--steps", type=int, default=4, help="steps an epoch")
options = parser.parse_args()

torch.manual_seed(0)
images = [{"image": disc()["image"]} for _ in range(64)]
pairs = [disc() for _ in range(3)]


def loader() -> SemiSupervisedLoader:
    """Batches of eight images and two pairs."""
    return SemiSupervisedLoader(images, pairs, batch_size=8, pair_batch_size=2, steps=options.steps)


network = SemanticGAN(size=SIZE, latent_dim=32, channel_base=512, channel_max=32)

# 1. the generator learns images and label maps against two discriminators
gan = SemanticGANTrainer(
    device="cpu",
    max_epochs=options.epochs,
    train_data_loader=loader(),
    generator=network.generator,
    image_discriminator=ImageDiscriminator(size=SIZE, channel_base=512, channel_max=32),
    joint_discriminator=JointDiscriminator(num_scales=2, channels=8, num_layers=2),
    train_handlers=[
        LossCurves("gan/losses.csv"),
        ResumableCheckpoint("gan/state.pt"),
        SampleGrid("gan/samples", interval=options.epochs),
    ],
)
gan.run()
# the averaged weights are the better ones
network.generator.load_state_dict(gan.ema.average.state_dict())

# 2. the encoder learns to find the code of an image in that generator
encoder = EncoderTrainer(
    device="cpu",
    max_epochs=options.epochs,
    train_data_loader=loader(),
    network=network,
    loss=EncoderLoss(),
    train_handlers=[LossCurves("encoder/losses.csv"), ResumableCheckpoint("encoder/state.pt")],
)
encoder.run()
trained = encoder.ema.average.eval()
torch.save(trained.state_dict(), "model.pt")

# 3. segment discs that neither training has seen
tests = [disc() for _ in range(8)]
mask = WPlusInferer(steps=4)(torch.stack([item["image"] for item in tests]), trained) > 0
label = torch.stack([item["label"] for item in tests]) > 0
dice = 2 * (mask & label).sum((1, 2, 3)) / (mask.sum((1, 2, 3)) + label.sum((1, 2, 3)))
print(f"mean Dice {dice.mean():.3f} after {options.epochs * options.steps} steps of each training")
