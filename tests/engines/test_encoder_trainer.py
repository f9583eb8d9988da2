# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from torch import Tensor, nn

from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader
from monai_semgan.engines.encoder_trainer import EncoderTrainer
from monai_semgan.handlers.resumable_checkpoint import ResumableCheckpoint
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
    defaults: dict[str, Any] = {"device": "cpu", "loss": EncoderLoss(), "synthetic_batch_size": 2}
    return EncoderTrainer(max_epochs=max_epochs, train_data_loader=loader, network=network, **(defaults | settings))


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


def test_label_lr_moves_the_label_branches_alone() -> None:
    trainer = tiny_encoder_trainer(label_lr=1e-3)
    before = weights(trainer.network.generator)
    trainer.run()
    moved = {
        name for name, weight in trainer.network.generator.named_parameters() if not torch.equal(weight, before[name])
    }
    assert moved and all("to_label." in name for name in moved)


def test_generator_lr_moves_all_but_the_mapping_and_the_label_branches() -> None:
    trainer = tiny_encoder_trainer(generator_lr=1e-3)
    before = weights(trainer.network.generator)
    trainer.run()
    still = {name for name, weight in trainer.network.generator.named_parameters() if torch.equal(weight, before[name])}
    assert {name for name in before if "to_label." in name or name.startswith("mapping.")} == still


def test_without_rehearsal_samples_are_those_of_the_generator_that_learns() -> None:
    trainer = tiny_encoder_trainer(generator_lr=1e-3)
    assert trainer.gan is trainer.network.generator and not trainer.rehearses


@pytest.mark.parametrize("rates", [{}, {"label_lr": 1e-3}, {"generator_lr": 1e-3}])
def test_a_generator_that_learns_rehearses_what_the_gan_left(
    rates: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It redraws samples of the GAN, which stays, from their codes; one that is frozen from the encoder's."""
    trainer = tiny_encoder_trainer(**rates, rehearse=True)
    gan = weights(trainer.network.generator)
    drawn: list[Tensor] = []
    decoded: list[Tensor] = []
    draw, decode = trainer.draw, trainer.network.decode
    monkeypatch.setattr(trainer, "draw", lambda: (sample := draw(), drawn.append(sample[2]))[0])
    monkeypatch.setattr(trainer.network, "decode", lambda codes: (decoded.append(codes.detach()), decode(codes))[1])
    trainer.run()
    for codes, shown in zip(drawn, decoded, strict=True):
        assert shown.shape[0] == 2 + 2 + 3
        assert torch.equal(shown[2:4], codes) == bool(rates)
        assert not torch.equal(shown[:2], codes)
    assert all(torch.equal(weight, gan[name]) for name, weight in trainer.gan.named_parameters())
    assert any(not torch.equal(w, gan[name]) for name, w in trainer.network.generator.named_parameters()) == bool(rates)


def test_samples_of_the_prior_have_its_codes() -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="the prior knows no codes"):
        tiny_encoder_trainer(prior_samples=True)
    trainer = tiny_encoder_trainer()
    prior = trainer.network.prior
    prior.fit(torch.randn(5, *prior.mean.shape))
    trainer.prior_samples = True
    torch.manual_seed(1)
    expected = prior.sample(trainer.synthetic_batch_size)
    torch.manual_seed(1)
    assert torch.equal(trainer.draw()[2], expected)


def test_it_learns_the_samples_of_its_generator() -> None:
    trainer = tiny_encoder_trainer(max_epochs=1, steps=60, lr=1e-2, synthetic_batch_size=16)
    losses: list[float] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output[0]["synthetic_segmentation"])
    )
    trainer.run()
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_the_encoder_sees_the_perturbed_and_rebuilds_the_clean_image(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny_encoder_trainer(steps=1, augmentation=DifferentiableAugmentation(brightness=1.0))
    seen: list[Tensor] = []
    encode = trainer.network.encode
    monkeypatch.setattr(trainer.network, "encode", lambda image: (seen.append(image), encode(image))[1])
    trainer.run()
    target = torch.stack([output["image"] for output in trainer.state.output])
    shift = (seen[0] - target).mean((1, 2, 3), keepdim=True)
    assert shift.abs().min() > 0
    torch.testing.assert_close(seen[0] - shift, target, atol=1e-5, rtol=0)


def test_unlabelled_images_learn_from_the_average_and_follow_the_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    jitter = DifferentiableAugmentation(shift=0.4)
    trainer = tiny_encoder_trainer(steps=1, teacher_weight=1.0, jitter=jitter)
    compared: list[tuple[Tensor, Tensor]] = []
    segment = trainer.loss.segment
    monkeypatch.setattr(trainer.loss, "segment", lambda *pair: (compared.append(pair), segment(*pair))[1])
    # a teacher that calls everything foreground: what the jitter brings in from outside is background
    monkeypatch.setattr(trainer, "teach", torch.ones_like)
    trainer.run()
    logits, label = compared[-1]
    assert trainer.state.output[0]["taught_segmentation"] == pytest.approx(segment(logits, label).item())
    images = torch.stack([output["image"] for output in trainer.state.output[-3:]])
    assert 0 < label.mean() < 1
    assert (label[images == -1.0] == 0).all()


def test_the_teacher_is_the_average_unless_one_is_given() -> None:
    trainer = tiny_encoder_trainer()
    image = torch.rand(2, 1, 16, 16) * 2 - 1
    other = tiny_encoder_trainer(teacher=nn.Conv2d(1, 1, 1))
    torch.testing.assert_close(other.teach(image), torch.sigmoid(other.teacher(image)) * 2 - 1)
    with torch.no_grad():
        expected = torch.sigmoid(trainer.ema.average(image)) * 2 - 1
    torch.testing.assert_close(trainer.teach(image), expected)


def test_a_moving_augmentation_is_refused() -> None:
    with pytest.raises(ValueError, match="put scale, stretch, shift and rotate into jitter"):
        tiny_encoder_trainer(augmentation=DifferentiableAugmentation(rotate=5))


def test_the_learning_rate_falls_to_zero() -> None:
    trainer = tiny_encoder_trainer(max_epochs=2, steps=3, lr=0.1)
    rates: list[float] = []
    trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda engine: rates.append(engine.optimizer.param_groups[0]["lr"])
    )
    trainer.run()
    assert rates[0] == pytest.approx(0.1) and rates == sorted(rates, reverse=True)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)


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
