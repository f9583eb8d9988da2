# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.losses import DiceCELoss
from torch import Tensor, nn

from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader
from monai_semgan.engines import Jitter, Perturbation, SegmenterTrainer
from monai_semgan.handlers.checkpoints import ResumableCheckpoint
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation
from tests.tiny_gan import tiny_items


def taught(items: list[dict[str, Any]], label_channels: int = 1) -> list[dict[str, Tensor]]:
    """Items with a soft label map."""
    generator = torch.Generator().manual_seed(1)
    maps = [torch.rand(label_channels, 16, 16, generator=generator) for _ in items]
    if label_channels > 1:
        maps = [item / item.sum(0) for item in maps]
    return [{"image": item["image"], "label_map": soft * 2 - 1} for item, soft in zip(items, maps)]


def make_trainer(
    *, images: bool = True, label_channels: int = 1, max_epochs: int = 2, **settings: Any
) -> SegmenterTrainer:
    torch.manual_seed(0)
    loader = SemiSupervisedLoader(
        taught(tiny_items(5), label_channels) if images else [],
        tiny_items(3, 16, 1, label_channels),
        batch_size=3 if images else 0,
        pair_batch_size=2,
        steps=3,
    )
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, label_channels, 1))
    return SegmenterTrainer(
        device="cpu",
        max_epochs=max_epochs,
        train_data_loader=loader,
        network=network,
        label_channels=label_channels,
        **settings,
    )


def weights(trainer: SegmenterTrainer) -> list[Tensor]:
    return [weight.detach().clone() for weight in trainer.network.parameters()]


@pytest.mark.parametrize("label_channels", [1, 3])
@pytest.mark.parametrize("images", [False, True])
def test_the_first_step_is_adams_on_pairs_and_taught_images(images: bool, label_channels: int) -> None:
    trainer = make_trainer(images=images, label_channels=label_channels, lr=0.01)
    before, first = weights(trainer), []
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda engine: first.extend(weights(engine)))

    pairs = [trainer.loader.pairs[i] for i in trainer.loader.pair_order.batch(0, 2)]
    seen = [pair["image"] for pair in pairs]
    if label_channels == 1:
        asked = [pair["label"].float() for pair in pairs]
    else:
        asked = [nn.functional.one_hot(pair["label"][0], 3).movedim(2, 0).float() for pair in pairs]
    if images:
        others = [trainer.loader.images[i] for i in trainer.loader.image_order.batch(0, 3)]
        seen += [item["image"] for item in others]
        asked += [(item["label_map"] + 1) / 2 for item in others]
    loss = DiceCELoss(sigmoid=label_channels == 1, softmax=label_channels > 1)
    value = loss(trainer.network(torch.stack(seen)), torch.stack(asked))
    gradients = torch.autograd.grad(value, list(trainer.network.parameters()))

    losses: list[float] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=1), lambda engine: losses.append(engine.state.output[0]["loss"])
    )
    trainer.run()
    assert losses[0] == pytest.approx(value.item(), rel=1e-5)
    rate = 0.01 * (1 - math.cos(math.pi * 0.1)) / 2
    for old, new, gradient in zip(before, first, gradients):
        expected = old - rate * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(new, expected, rtol=1e-3, atol=1e-7)


def test_the_rate_rises_and_falls_along_cosines() -> None:
    trainer = make_trainer(max_epochs=20)
    trainer.state.max_epochs = 20
    rates = [trainer.rate(step) for step in range(60)]
    top = rates.index(max(rates))
    assert top == 6 and rates[top] == pytest.approx(1.0)
    assert rates[:7] == sorted(rates[:7]) and rates[6:] == sorted(rates[6:], reverse=True)
    assert rates[33] == pytest.approx(0.5) and trainer.rate(60) == pytest.approx(0.0, abs=1e-12)
    assert 0 < rates[0] < 0.05 and trainer.rate(70) == pytest.approx(0.0, abs=1e-12)


def test_extensions_move_labels_along_and_change_images_alone() -> None:
    jitter = Jitter(DifferentiableAugmentation(shift=0.3))
    dimmed = Perturbation(DifferentiableAugmentation(brightness=0.5))
    seen: list[Tensor] = []
    trainer = make_trainer(max_epochs=1, extensions={"jitter": jitter, "perturbation": dimmed})
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.append(torch.stack([x["image"] for x in engine.state.output]))
    )
    trainer.run()
    known = torch.stack([item["image"] for item in tiny_items(5)])
    assert len(seen) == 3 and all(len(batch) == 5 for batch in seen)
    assert (seen[0][2:, None] - known[None]).abs().flatten(2).amax(2).min() > 0.01


def test_a_new_trainer_goes_on_where_the_last_stopped(tmp_path: Path) -> None:
    def run(epochs: int, file: str) -> SegmenterTrainer:
        jitter = Jitter(DifferentiableAugmentation(shift=0.3))
        trainer = make_trainer(
            max_epochs=3, extensions={"jitter": jitter}, train_handlers=[ResumableCheckpoint(tmp_path / file)]
        )
        trainer.add_event_handler(
            Events.EPOCH_COMPLETED, lambda engine: engine.terminate() if engine.state.epoch == epochs else None
        )
        trainer.run()
        return trainer

    straight = run(3, "straight.pt")
    run(1, "parts.pt")
    resumed = run(3, "parts.pt")
    for one, other in zip(straight.ema.average.parameters(), resumed.ema.average.parameters()):
        assert torch.equal(one, other)


def test_it_learns(tmp_path: Path) -> None:
    trainer = make_trainer(images=False, max_epochs=30, lr=0.05)
    # what is bright is the label
    for item in trainer.loader.pairs:
        item["label"] = (item["image"] > 0.2).long()
    trainer.run()
    image = torch.stack([item["image"] for item in tiny_items(4)])
    found = trainer.ema.average(image) > 0
    assert (found == (image > 0.2)).float().mean() > 0.97
