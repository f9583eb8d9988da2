# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from monai_semgan.handlers.sample_grid import SampleGrid, label_tiles
from tests.tiny_gan import tiny_trainer


@pytest.mark.parametrize(("size", "image_channels", "label_channels", "columns"), [(16, 1, 1, 5), (32, 3, 4, 1)])
def test_picture_has_a_row_of_images_and_one_of_labels(
    tmp_path: Path, size: int, image_channels: int, label_channels: int, columns: int
) -> None:
    trainer = tiny_trainer(size=size, image_channels=image_channels, label_channels=label_channels)
    trainer.state.epoch = 10
    SampleGrid(tmp_path / "samples", columns=columns)(trainer)
    (path,) = (tmp_path / "samples").iterdir()
    assert path.name == "samples_00010.png"
    picture = Image.open(path)
    # torchvision puts 2 px around each tile
    assert picture.size == (columns * (size + 2) + 2, 2 * (size + 2) + 2)
    pixels = np.asarray(picture)
    assert pixels[2 : size + 2, 2:-2].std() > 0 and pixels[size + 4 : -2, 2:-2].std() > 0


def test_global_random_states_stay(tmp_path: Path) -> None:
    trainer = tiny_trainer()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    SampleGrid(tmp_path)(trainer)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1] and np.random.get_state()[1].tolist() == before[2]


def test_same_latents_every_time(tmp_path: Path) -> None:
    trainer = tiny_trainer()
    pictures = []
    for epoch, seed in ((10, 0), (20, 0), (30, 1)):
        trainer.state.epoch = epoch
        SampleGrid(tmp_path, seed=seed)(trainer)
        pictures.append((tmp_path / f"samples_{epoch:05d}.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_drawn_at_the_interval_and_at_the_end(tmp_path: Path) -> None:
    trainer = tiny_trainer(max_epochs=5, steps=1)
    SampleGrid(tmp_path, interval=2, columns=2).attach(trainer)
    trainer.run()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"samples_{n:05d}.png" for n in (2, 4, 5)]


def test_drawing_does_not_change_the_training(tmp_path: Path) -> None:
    weights = []
    for interval in (1, 100):
        trainer = tiny_trainer(max_epochs=3, steps=1)
        SampleGrid(tmp_path, interval=interval, columns=2).attach(trainer)
        trainer.run()
        weights.append(torch.cat([p.detach().flatten() for p in trainer.generator.parameters()]))
    assert torch.equal(weights[0], weights[1])


def test_label_tiles() -> None:
    binary = label_tiles(torch.tensor([-100.0, 0.0, 100.0]).view(1, 1, 1, 3), 3)
    assert binary.shape == (1, 3, 1, 3) and binary[0, 0, 0].tolist() == [-1, 0, 1]
    logits = torch.eye(3).view(1, 3, 1, 3)
    assert label_tiles(logits, 1)[0, 0, 0].tolist() == [-1, 0, 1]
