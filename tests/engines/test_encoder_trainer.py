# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from torch import Tensor, nn

from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader
from monai_semgan.engines import (
    CodeLoss,
    EncoderExtension,
    EncoderTrainer,
    Jitter,
    Perturbation,
    Rehearsal,
    SyntheticPairs,
    Teacher,
    TunedGenerator,
)
from monai_semgan.engines.extension import Answer, SemiSupervisedBatch
from monai_semgan.handlers.checkpoints import ResumableCheckpoint
from monai_semgan.losses import EncoderLoss
from monai_semgan.networks.nets import SemanticGAN
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation
from tests.tiny_gan import tiny_items

LOSSES = {"loss", "segmentation", "reconstruction", "synthetic_segmentation", "synthetic_codes", "taught_segmentation"}


def tiny_encoder_trainer(
    *, label_channels: int = 1, max_epochs: int = 1, steps: int = 2, **settings: Any
) -> EncoderTrainer:
    torch.manual_seed(0)
    network = SemanticGAN(
        size=16,
        label_channels=label_channels,
        latent_dim=8,
        channel_base=64,
        channel_max=8,
        encoder_channel_max=8,
        pyramid_channels=8,
        head_channels=8,
    )
    loader = SemiSupervisedLoader(
        tiny_items(7), tiny_items(3, 16, 1, label_channels), batch_size=3, pair_batch_size=2, steps=steps
    )
    names = [name for name in ("lr", "amp", "train_handlers") if name in settings]
    return EncoderTrainer(
        device="cpu",
        max_epochs=max_epochs,
        train_data_loader=loader,
        network=network,
        loss=EncoderLoss(),
        **{name: settings.pop(name) for name in names},
        extensions=settings.pop("extensions") if "extensions" in settings else all_extensions(**settings),
    )


def all_extensions(
    *,
    teacher: nn.Module | None = None,
    teacher_weight: float = 0.0,
    jitter: DifferentiableAugmentation | None = None,
    samples: SyntheticPairs | None = None,
    label_lr: float = 0.0,
    generator_lr: float = 0.0,
    rehearse: bool = False,
    augmentation: DifferentiableAugmentation | None = None,
) -> dict[str, EncoderExtension]:
    """Every extension, in the order of the bundles' training."""
    extensions: dict[str, EncoderExtension] = {
        "teacher": Teacher(teacher, weight=teacher_weight),
        "jitter": Jitter(jitter or DifferentiableAugmentation()),
        "samples": samples or SyntheticPairs(2),
        "code_loss": CodeLoss(),
        "tuning": TunedGenerator(label_lr=label_lr, generator_lr=generator_lr),
        "perturbation": Perturbation(augmentation or DifferentiableAugmentation()),
    }
    return extensions | ({"rehearsal": Rehearsal()} if rehearse else {})


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}


@pytest.mark.parametrize("label_channels", [1, 3])
@pytest.mark.parametrize("amp", [False, True])
def test_the_encoder_moves_and_the_generator_stays(label_channels: int, amp: bool) -> None:
    trainer = tiny_encoder_trainer(label_channels=label_channels, amp=amp)
    generator, encoder = weights(trainer.network.generator), weights(trainer.network.encoder)
    trainer.run()
    assert LOSSES <= {name for name, value in trainer.state.output[0].items() if isinstance(value, float)}
    assert all(torch.equal(weight, generator[name]) for name, weight in trainer.network.generator.named_parameters())
    moved = [
        name for name, weight in trainer.network.encoder.named_parameters() if not torch.equal(weight, encoder[name])
    ]
    assert any(name.startswith("heads") for name in moved) and any(name.startswith("stem") for name in moved)
    averaged = weights(trainer.ema.average.encoder)
    assert any(not torch.equal(weight, encoder[name]) for name, weight in averaged.items())


def test_the_learning_rate_falls_to_zero() -> None:
    trainer = tiny_encoder_trainer(max_epochs=2, steps=3, lr=0.1)
    rates: list[float] = []
    trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda engine: rates.append(engine.optimizer.param_groups[0]["lr"])
    )
    trainer.run()
    assert rates[0] == pytest.approx(0.1) and rates == sorted(rates, reverse=True)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("stop", [2, 4])
def test_a_longer_run_takes_up_a_rate_that_never_rises(tmp_path: Path, stop: int) -> None:
    """Of a finished run, or of one that was stopped: from there on it is the cosine of the longer run."""
    first = tiny_encoder_trainer(max_epochs=stop, steps=3, lr=0.1)
    ResumableCheckpoint(tmp_path / "state.pt").attach(first)
    first.run()
    longer = tiny_encoder_trainer(max_epochs=6, steps=3, lr=0.1)
    ResumableCheckpoint(tmp_path / "state.pt").attach(longer)
    rates: list[float] = []
    step = longer.optimizer.step
    longer.optimizer.step = lambda: (rates.append(longer.optimizer.param_groups[0]["lr"]), step())[1]
    longer.run()
    expected = [0.05 * (1 + math.cos(math.pi * done / 18)) for done in range(stop * 3, 18)]
    assert rates == pytest.approx(expected) and rates == sorted(rates, reverse=True)
    longer.set_rates(25)
    assert longer.optimizer.param_groups[0]["lr"] == 0


def test_a_warm_start_has_the_full_rate(tmp_path: Path) -> None:
    first = tiny_encoder_trainer(lr=0.1)
    ResumableCheckpoint(tmp_path / "first.pt").attach(first)
    first.run()
    warm = tiny_encoder_trainer(lr=0.1)
    ResumableCheckpoint(tmp_path / "second.pt", warm_start=tmp_path / "first.pt").load(warm)
    assert warm.ema.images_seen == 6
    warm.state.iteration = 1
    warm._iteration(warm, next(iter(warm.loader)))
    assert warm.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def test_the_gradient_is_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny_encoder_trainer(steps=1)
    trainer.clip = 1e-3
    norms: list[float] = []
    step = trainer.optimizer.step

    def measured() -> None:
        norms.append(torch.nn.utils.get_total_norm([w.grad for w in trainer.network.encoder.parameters()]).item())
        step()

    monkeypatch.setattr(trainer.optimizer, "step", measured)
    trainer.run()
    assert norms == [pytest.approx(1e-3, rel=1e-3)]


def test_the_papers_training_alone() -> None:
    """The loss is Dice and cross entropy of the pairs and reconstruction of all images, nothing else."""
    trainer = tiny_encoder_trainer(extensions={}, steps=1)
    network = copy.deepcopy(trainer.network).train()
    batch = next(iter(copy.deepcopy(trainer.loader)))
    trainer.run()
    image = torch.cat([batch["pair_image"], batch["image"]])
    reconstruction, logits = network.decode(network.encode(image))
    terms = EncoderLoss()(reconstruction, image, network, logits[:2], (batch["pair_label"] > 0).float())
    first = trainer.state.output[0]
    assert {str(name) for name, value in first.items() if isinstance(value, float)} == {
        "loss",
        "segmentation",
        "reconstruction",
    }
    assert first["loss"] == pytest.approx(terms.total.item(), rel=1e-5)
    assert not trainer.changing_buffers


def test_what_an_extension_needs_is_named() -> None:
    with pytest.raises(ValueError, match="give SyntheticPairs before it"):
        tiny_encoder_trainer(extensions={"rehearsal": Rehearsal(), "samples": SyntheticPairs()})
    with pytest.raises(ValueError, match="the code loss needs SyntheticPairs"):
        tiny_encoder_trainer(extensions={"code_loss": CodeLoss()}).run()


class Flat(EncoderExtension):
    """A variant in a few lines: images without labels are background."""

    weight = 0.5
    loss_name = "flat"

    def loss(self, batch: SemiSupervisedBatch, answers: dict[str, Answer]) -> Tensor:
        return answers["images"].logits.sigmoid().mean()


def test_a_variant_is_a_class_and_a_name() -> None:
    plain, varied = (tiny_encoder_trainer(extensions=e, steps=1) for e in ({}, {"flat": Flat()}))
    for trainer in (plain, varied):
        trainer.run()
    first, other = plain.state.output[0], varied.state.output[0]
    assert other["flat"] > 0 and other["loss"] == pytest.approx(first["loss"] + 0.5 * other["flat"])


def test_a_nan_stops_the_training() -> None:
    trainer = tiny_encoder_trainer()
    with torch.no_grad():
        trainer.network.encoder.stem.get_parameter("conv.weight").fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="iteration 1"):
        trainer.run()


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    jitter = {"jitter": DifferentiableAugmentation(shift=0.1)}
    straight = tiny_encoder_trainer(max_epochs=3, **jitter)
    torch.manual_seed(5)
    straight.run()

    first = tiny_encoder_trainer(max_epochs=3, **jitter)
    ResumableCheckpoint(tmp_path / "state.pt").attach(first)
    first.add_event_handler(Events.EPOCH_COMPLETED(once=2), lambda engine: engine.terminate())
    torch.manual_seed(5)
    first.run()
    second = tiny_encoder_trainer(max_epochs=3, **jitter)
    ResumableCheckpoint(tmp_path / "state.pt").attach(second)
    second.run()
    for mine, theirs in zip(straight.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    for mine, theirs in zip(straight.ema.average.parameters(), second.ema.average.parameters(), strict=True):
        assert torch.equal(mine, theirs)
