# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import MetaTensor
from monai.handlers import MLFlowHandler, PostProcessing, StatsHandler, TensorBoardStatsHandler, from_engine
from torch import Tensor, nn

from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader
from monai_semgan.engines import CodeLoss, GANExtension, GANSettings
from monai_semgan.engines.semantic_gan_trainer import SemanticGANTrainer, lazy_adam
from monai_semgan.losses import FeatureMatchingLoss, PathLengthPenalty, R1Penalty
from monai_semgan.networks.label_map import label_to_map
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation
from tests.tiny_gan import tiny_items, tiny_networks, tiny_trainer

LOSSES = {
    "loss",
    "g_loss",
    "d_loss",
    "d_image",
    "d_joint",
    "g_image",
    "g_joint",
    "feature_matching",
    "real_sign",
    "augment_p",
    "r1_image",
    "r1_joint",
    "path_length",
}


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def moved(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}


def real_batch(trainer: SemanticGANTrainer) -> tuple[Tensor, Tensor, Tensor]:
    batch = next(iter(trainer.loader))
    label = label_to_map(batch["pair_label"], trainer.generator.label_channels)
    return batch["image"], batch["pair_image"], label


def run_generator_phase(trainer: SemanticGANTrainer) -> dict[str, float]:
    fake, fake_label = trainer.draw(4)
    return trainer.generator_phase(fake, fake_label, 2, real_batch(trainer)[1:])


# ---- what the engine returns


def test_output_is_decollated_and_holds_the_losses() -> None:
    trainer = tiny_trainer(steps=4, batch_size=4, joint_weight=0.5)
    trainer.run()
    assert trainer.state.iteration == 4 and len(trainer.state.output) == 4
    first = trainer.state.output[0]
    assert {str(name) for name, value in first.items() if isinstance(value, float)} == LOSSES
    assert all(first[name] == trainer.state.output[3][name] for name in LOSSES)
    assert first["loss"] == first["g_loss"]
    assert first["d_loss"] == pytest.approx(first["d_image"] + first["d_joint"])
    expected = first["g_image"] + 0.5 * (first["g_joint"] + first["feature_matching"])
    assert first["g_loss"] == pytest.approx(expected, rel=1e-5)
    assert all(first[name] > 0 for name in ("r1_image", "r1_joint", "path_length"))
    for name in ("image", "fakes", "pred"):
        assert first[name].shape == (1, 16, 16) and not first[name].requires_grad
    assert first["pred"].abs().max() <= 1


def test_stats_handler_prints_the_loss(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = tiny_trainer(train_handlers=[StatsHandler(output_transform=from_engine(["loss"], first=True))])
    trainer.run()
    printed = capsys.readouterr().out
    assert "Iter: 1/2" in printed and "Iter: 2/2" in printed
    assert f"Loss: {trainer.state.output[0]['loss']:.4f}" in printed


def test_tensorboard_has_a_scalar_an_iteration(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    handler = TensorBoardStatsHandler(log_dir=str(tmp_path), output_transform=from_engine(["loss"], first=True))
    trainer = tiny_trainer(train_handlers=[handler])
    trainer.run()
    handler.close()
    events = event_accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    scalars = events.Scalars("Loss")
    assert [scalar.step for scalar in scalars] == [1, 2]
    assert scalars[-1].value == pytest.approx(trainer.state.output[0]["loss"], rel=1e-5)


def test_mlflow_has_a_metric_an_iteration(tmp_path: Path) -> None:
    for package in ("mlflow", "sqlalchemy", "alembic", "pandas"):
        pytest.importorskip(package, reason=f"{package} is not installed: mlflow keeps its runs in a database")
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    handler = MLFlowHandler(tracking_uri=uri, output_transform=from_engine(["loss"], first=True))
    trainer = tiny_trainer(train_handlers=[handler])
    trainer.run()
    history = handler.client.get_metric_history(handler.cur_run.info.run_id, "Loss")
    assert [metric.step for metric in history] == [1, 2]
    assert history[-1].value == pytest.approx(trainer.state.output[0]["loss"])


def test_postprocessing_runs_on_each_image() -> None:
    trainer = tiny_trainer(train_handlers=[PostProcessing(lambda item: item | {"mean": item["pred"].mean().item()})])
    trainer.run()
    for item in trainer.state.output:
        assert item["mean"] == item["pred"].mean().item()


# ---- phases


@pytest.mark.parametrize("which", ["image_discriminator", "joint_discriminator"])
def test_r1_alone_moves_the_discriminators(which: str) -> None:
    trainer = tiny_trainer()
    network = getattr(trainer, which)
    before, generator = weights(network), weights(trainer.generator)
    trainer.r1_phase(*real_batch(trainer))
    changed = moved(network, before)
    assert {name for name in before if "weight" in name} <= changed
    assert not moved(trainer.generator, generator)


def test_r1_falls_under_its_own_steps() -> None:
    trainer = tiny_trainer(augmentation=DifferentiableAugmentation(p=0.0), lr=0.01)
    batch = real_batch(trainer)
    trainer.r1_phase(*batch)
    first = dict(trainer.lazy)
    for _ in range(15):
        trainer.r1_phase(*batch)
    assert trainer.lazy["r1_image"] < 0.5 * first["r1_image"]
    assert trainer.lazy["r1_joint"] < 0.8 * first["r1_joint"]


def test_r1_without_weight_moves_nothing() -> None:
    trainer = tiny_trainer(r1_image=R1Penalty(0.0), r1_joint=R1Penalty(0.0))
    before = weights(trainer.image_discriminator), weights(trainer.joint_discriminator)
    trainer.r1_phase(*real_batch(trainer))
    assert not moved(trainer.image_discriminator, before[0]) and not moved(trainer.joint_discriminator, before[1])


def test_path_length_moves_the_generator_alone() -> None:
    trainer = tiny_trainer()
    before = weights(trainer.generator)
    others = weights(trainer.image_discriminator), weights(trainer.joint_discriminator)
    trainer.path_length_phase(2)
    changed = moved(trainer.generator, before)
    assert {"constant", "style.conv.weight", "mapping.layers.0.weight", "to_image.conv.weight"} <= changed
    assert not any("to_label" in name for name in changed)
    assert not moved(trainer.image_discriminator, others[0]) and not moved(trainer.joint_discriminator, others[1])
    assert trainer.path_length.mean_length > 0


def test_generator_phase_leaves_the_discriminators_alone() -> None:
    trainer = tiny_trainer()
    networks = trainer.image_discriminator, trainer.joint_discriminator
    before = [weights(network) for network in networks]
    for network in networks:
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, 7.0)
    generator = weights(trainer.generator)
    run_generator_phase(trainer)
    assert moved(trainer.generator, generator)
    for network, kept in zip(networks, before):
        assert not moved(network, kept)
        assert all((parameter.grad == 7.0).all() and parameter.requires_grad for parameter in network.parameters())


def test_discriminator_phase_leaves_the_generator_alone() -> None:
    trainer = tiny_trainer()
    before = weights(trainer.generator)
    fake, fake_label = trainer.draw(4)
    joint = weights(trainer.joint_discriminator)
    image = weights(trainer.image_discriminator)
    trainer.discriminator_phase(*real_batch(trainer), fake, fake_label, 2)
    assert not moved(trainer.generator, before)
    assert all(parameter.grad is None for parameter in trainer.generator.parameters())
    assert moved(trainer.joint_discriminator, joint) and moved(trainer.image_discriminator, image)


def test_one_batch_of_real_and_drawn_images_gives_the_gradients_of_two() -> None:
    trainer = tiny_trainer()
    # in training a pass moves the spectral norm's vectors
    trainer.joint_discriminator.eval()
    trainer.extensions = {}
    real, pair_image, pair_label = real_batch(trainer)
    fake, fake_label = (x.detach() for x in trainer.draw(4))
    image, joint = (copy.deepcopy(d) for d in (trainer.image_discriminator, trainer.joint_discriminator))
    pairs = 2
    losses, seen = trainer.discriminator_phase(real, pair_image, pair_label, fake, fake_label, pairs)

    d_image = trainer.image_loss(image(real), True) + trainer.image_loss(image(fake), False)
    logits, _ = joint(pair_image, pair_label)
    d_joint = trainer.joint_loss(logits, True)
    d_joint = d_joint + trainer.joint_loss(joint(fake[:pairs], fake_label[:pairs])[0], False)
    (d_image + d_joint).backward()
    assert losses["d_image"] == pytest.approx(d_image.item(), rel=1e-4)
    assert losses["d_joint"] == pytest.approx(d_joint.item(), rel=1e-4)
    assert torch.equal(seen[0], pair_image) and torch.equal(seen[1], pair_label)
    for mine, plain in ((trainer.image_discriminator, image), (trainer.joint_discriminator, joint)):
        for (name, weight), other in zip(mine.named_parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(weight.grad, other.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_features_are_matched_with_those_of_the_discriminator_after_its_step() -> None:
    """The generator's step sees what D_m has become, on both sides of the comparison."""
    trainer = tiny_trainer(lr=0.05)
    trainer.joint_discriminator.eval()
    trainer.extensions = {}
    real, pair_image, pair_label = real_batch(trainer)
    fake, fake_label = trainer.draw(4)
    before = copy.deepcopy(trainer.joint_discriminator)
    _, seen = trainer.discriminator_phase(real, pair_image, pair_label, fake, fake_label, 2)
    after = copy.deepcopy(trainer.joint_discriminator)
    losses = trainer.generator_phase(fake, fake_label, 2, seen)

    matching = FeatureMatchingLoss()
    drawn = after(fake[:2], fake_label[:2])[1]
    assert losses["feature_matching"] == pytest.approx(matching(drawn, after(pair_image, pair_label)[1]).item())
    stale = matching(drawn, before(pair_image, pair_label)[1]).item()
    assert losses["feature_matching"] != pytest.approx(stale, rel=0.01)


def gradients(trainer: SemanticGANTrainer, part: str) -> float:
    """Largest gradient among the generator's weights with ``part`` in their name."""
    return max(
        0.0 if parameter.grad is None else parameter.grad.abs().max().item()
        for name, parameter in trainer.generator.named_parameters()
        if part in name
    )


def test_image_branch_gets_no_gradient_from_the_joint_discriminator() -> None:
    trainer = tiny_trainer()
    trainer.image_loss.forward = lambda logits, *_: 0.0 * logits.sum()  # type: ignore[method-assign]
    run_generator_phase(trainer)
    assert gradients(trainer, "to_image") == 0
    assert gradients(trainer, "to_label") > 0
    assert gradients(trainer, "style.conv.weight") > 0 and gradients(trainer, "up.conv.weight") > 0
    assert gradients(trainer, "mapping") > 0


def test_label_branch_gets_its_gradient_from_the_joint_discriminator_alone() -> None:
    trainer = tiny_trainer(joint_weight=0.0)
    run_generator_phase(trainer)
    assert gradients(trainer, "to_label") == 0 and gradients(trainer, "to_image") > 0


def count_calls(trainer: SemanticGANTrainer, owner: Any, name: str) -> list[int]:
    """Iterations at which a method is called."""
    calls: list[int] = []
    method = getattr(owner, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(trainer.state.iteration)
        return method(*args, **kwargs)

    setattr(owner, name, counted)
    return calls


def test_one_generator_pass_an_iteration() -> None:
    trainer = tiny_trainer(steps=5, path_length_interval=0)
    calls = count_calls(trainer, trainer.generator, "synthesis")
    trainer.run()
    assert calls == [1, 2, 3, 4, 5]


def test_lazy_phases_keep_their_intervals() -> None:
    trainer = tiny_trainer(steps=4, max_epochs=2, r1_interval=3, path_length_interval=4)
    r1 = count_calls(trainer, trainer, "r1_phase")
    path_length = count_calls(trainer, trainer, "path_length_phase")
    passes = count_calls(trainer, trainer.generator, "synthesis")
    trainer.run()
    assert r1 == [3, 6] and path_length == [4, 8]
    assert passes == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]


def test_lazy_phases_can_be_switched_off() -> None:
    trainer = tiny_trainer(r1_interval=0, path_length_interval=0)
    trainer.run()
    assert trainer.lazy == {"r1_image": 0.0, "r1_joint": 0.0, "path_length": 0.0}


def test_gain_is_corrected_for_the_interval() -> None:
    trainer = tiny_trainer(r1_interval=5, path_length_interval=3)
    losses: list[float] = []
    trainer.step = lambda loss, optimizer: losses.append(loss.item())  # type: ignore[method-assign]
    trainer.r1_phase(*real_batch(trainer))
    trainer.path_length_phase(2)
    lazy = trainer.lazy
    assert losses == pytest.approx([5 * lazy["r1_image"], 5 * lazy["r1_joint"], 3 * lazy["path_length"]])


@pytest.mark.parametrize(("interval", "c"), [(0, 1.0), (4, 4 / 5), (16, 16 / 17)])
def test_lazy_adam(interval: int, c: float) -> None:
    optimizer = lazy_adam(nn.Linear(2, 2), 0.002, interval, betas=(0.5, 0.99))
    assert optimizer.defaults["lr"] == pytest.approx(0.002 * c)
    assert optimizer.defaults["betas"] == pytest.approx((0.5**c, 0.99**c))


def test_average_follows_the_generator() -> None:
    trainer = tiny_trainer(steps=1, path_length_interval=0, ema_half_life=40.0)
    before = weights(trainer.generator)
    trainer.run()
    # 4 images seen: the half-life is 0.05 * 4
    share = 0.5 ** (4 / 0.2)
    for name, average in trainer.ema.average.named_parameters():
        expected = share * before[name] + (1 - share) * trainer.generator.get_parameter(name)
        torch.testing.assert_close(average, expected.detach())
    assert (
        torch.equal(trainer.ema.average.mean_w, trainer.generator.mean_w) and trainer.generator.mean_w.abs().sum() > 0
    )
    assert moved(trainer.ema.average, before)


# ---- autocast


def test_bf16_keeps_the_regularisers_in_fp32() -> None:
    trainer = tiny_trainer(amp=True, r1_interval=1, path_length_interval=1, steps=2)
    seen: dict[str, set[torch.dtype]] = {"r1": set(), "path_length": set(), "main": set()}
    phase = ["main"]

    def watch(network: nn.Module, inputs: Any, output: Any) -> None:
        seen[phase[0]].add((output[0] if isinstance(output, tuple) else output).dtype)

    for layer in (trainer.image_discriminator.dense, trainer.joint_discriminator.scales[0].get_submodule("1.conv")):
        layer.register_forward_hook(watch)
    trainer.generator.levels[0].up.conv.register_forward_hook(watch)

    def named(name: str) -> Callable[..., None]:
        method = getattr(trainer, f"{name}_phase")

        def wrapped(*args: Any) -> None:
            phase[0] = name
            method(*args)
            phase[0] = "main"

        return wrapped

    trainer.r1_phase, trainer.path_length_phase = named("r1"), named("path_length")  # type: ignore[method-assign]
    demodulation: set[torch.dtype] = set()
    trainer.generator.levels[0].up.conv.register_forward_hook(lambda *args: demodulation.add(args[2][1].dtype))
    trainer.run()
    fp32 = {torch.float32}
    assert seen == {"r1": fp32, "path_length": fp32, "main": {torch.bfloat16}} and demodulation == fp32
    for network in (trainer.generator, trainer.image_discriminator, trainer.joint_discriminator, trainer.ema.average):
        assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in network.state_dict().values())


def test_bf16_is_near_fp32() -> None:
    outputs = []
    for amp in (False, True):
        trainer = tiny_trainer(amp=amp, steps=1)
        trainer.run()
        outputs.append(trainer.state.output[0])
    for name in ("d_image", "d_joint", "g_image", "g_joint", "feature_matching"):
        assert outputs[1][name] == pytest.approx(outputs[0][name], rel=0.05, abs=0.02), name


# ---- data


@pytest.mark.parametrize(("batch_size", "pair_batch_size"), [(1, 1), (3, 5), (5, 2), (7, 1)])
def test_odd_batches(batch_size: int, pair_batch_size: int) -> None:
    trainer = tiny_trainer(batch_size=batch_size, pair_batch_size=pair_batch_size)
    trainer.run()
    assert trainer.state.output[0]["r1_image"] > 0


class ShortLastBatch(SemiSupervisedLoader):
    """A loader whose last batch of an epoch has one image."""

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for index, batch in enumerate(super().__iter__()):
            yield batch if index + 1 < self.steps else {name: value[:1] for name, value in batch.items()}


def test_last_short_batch() -> None:
    loader = ShortLastBatch(tiny_items(7), tiny_items(3), batch_size=4, pair_batch_size=2, steps=2)
    trainer = tiny_trainer(train_data_loader=loader, max_epochs=2)
    sizes: list[int] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: sizes.append(len(trainer.state.output)))
    trainer.run()
    assert sizes == [4, 1, 4, 1]


def test_rgb_and_several_classes() -> None:
    trainer = tiny_trainer(size=32, image_channels=3, label_channels=4)
    trainer.run()
    first = trainer.state.output[0]
    assert first["image"].shape == (3, 32, 32) and first["pred"].shape == (4, 32, 32)


def test_meta_tensors_train_as_tensors_do() -> None:
    results = []
    for kind in (Tensor, MetaTensor):
        items = [{k: kind(v) if kind is MetaTensor else v for k, v in item.items()} for item in tiny_items(5)]
        loader = SemiSupervisedLoader(items, items, batch_size=4, pair_batch_size=2, steps=2)
        trainer = tiny_trainer(train_data_loader=loader)
        trainer.run()
        results.append(weights(trainer.generator))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


# ---- failures


def test_nan_image_stops_the_training() -> None:
    trainer = tiny_trainer()
    for item in trainer.loader.images:
        item["image"][:, 3, 3] = float("nan")
    with pytest.raises(FloatingPointError, match="iteration 1: lower lr or switch amp off"):
        trainer.run()


def test_discriminators_thaw_after_a_failure() -> None:
    trainer = tiny_trainer(feature_matching=FeatureMatchingLoss(weight=float("inf")))
    with pytest.raises(FloatingPointError):
        trainer.run()
    assert all(p.requires_grad for p in trainer.image_discriminator.parameters())
    assert all(p.requires_grad for p in trainer.joint_discriminator.parameters())


def test_label_without_a_channel_is_named() -> None:
    items = tiny_items(3, label_channels=5)
    loader = SemiSupervisedLoader(items, items, batch_size=2, pair_batch_size=3, steps=1)
    with pytest.raises(ValueError, match="the network has 3 channels"):
        tiny_trainer(label_channels=3, train_data_loader=loader).run()


@pytest.mark.parametrize(
    ("networks", "match"),
    [
        (
            {"image_discriminator": tiny_networks(32)[1]},
            "image discriminator takes 1 x 32 px, the generator draws 1 x 16",
        ),
        ({"image_discriminator": tiny_networks(16, 3)[1]}, "image discriminator takes 3 x 16 px"),
        ({"joint_discriminator": tiny_networks(16, 1, 4)[2]}, "takes 5 channels, the generator draws 1 image and 1"),
    ],
)
def test_networks_that_do_not_fit(networks: dict[str, nn.Module], match: str) -> None:
    generator, image_discriminator, joint_discriminator = tiny_networks()
    fitting = {"image_discriminator": image_discriminator, "joint_discriminator": joint_discriminator}
    loader = SemiSupervisedLoader(tiny_items(3), tiny_items(3), batch_size=2, pair_batch_size=2, steps=1)
    with pytest.raises(ValueError, match=match):
        SemanticGANTrainer(
            device="cpu", max_epochs=1, train_data_loader=loader, generator=generator, **(fitting | networks)
        )


def test_given_losses_are_used() -> None:
    penalties = {"r1_image": R1Penalty(1.0), "r1_joint": R1Penalty(2.0), "path_length": PathLengthPenalty(weight=3.0)}
    trainer = tiny_trainer(**penalties)
    assert all(getattr(trainer.settings, name) is penalty for name, penalty in penalties.items())


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"lr": 0.0}, "lr 0.0 must be positive"),
        ({"style_mixing": 1.5}, "style_mixing 1.5 in"),
        ({"r1_interval": -1}, "r1_interval -1"),
        ({"path_length_interval": -2}, "0 switches the regulariser off"),
    ],
)
def test_ranges(settings: dict[str, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        GANSettings(**settings)


def test_the_papers_training_alone() -> None:
    trainer = tiny_trainer(extensions={})
    assert set(trainer.checkpoint) == {
        "ema",
        "generator",
        "generator_ema",
        "image_discriminator",
        "joint_discriminator",
        "g_optimizer",
        "d_image_optimizer",
        "d_joint_optimizer",
        "path_length",
    }
    trainer.run()
    first = trainer.state.output[0]
    assert {str(name) for name, value in first.items() if isinstance(value, float)} == LOSSES - {"augment_p"}
    # the images come as the loader gives them
    given = next(iter(SemiSupervisedLoader(tiny_items(7), tiny_items(3), batch_size=4, pair_batch_size=2, steps=1)))
    trainer = tiny_trainer(extensions={}, steps=1)
    trainer.run()
    assert torch.equal(torch.stack([item["image"] for item in trainer.state.output]), given["image"])


def test_buffers_that_training_changes_are_declared() -> None:
    """Every floating-point buffer that moves in a run, but for vectors that follow from the weights, is declared."""
    trainer = tiny_trainer(real_sign_target=2.0, adaptation_images=50)
    modules = {name: item for name, item in trainer.checkpoint.items() if isinstance(item, nn.Module)}
    buffers = {(name, key): b for name, item in modules.items() for key, b in item.named_buffers()}
    before = {place: buffer.clone() for place, buffer in buffers.items()}
    trainer.run()
    changed = {place for place, buffer in buffers.items() if not torch.equal(buffer, before[place])}
    declared = {id(buffer) for buffer in trainer.changing_buffers}
    spectral = {place for place in changed if "parametrizations" in place[1]}
    assert {id(buffers[place]) for place in changed - spectral} == declared and len(declared) == 4


def test_an_extension_of_another_training_is_named() -> None:
    with pytest.raises(TypeError, match="extension mine is .*CodeLoss.*takes a GANExtension"):
        tiny_trainer(extensions={"mine": CodeLoss()})


class Brighter(GANExtension):
    """A variant in a few lines: D_r sees brighter images."""

    def show_image(self, image: Tensor) -> Tensor:
        return image + 0.5

    def follow(self, losses: dict[str, float], images: int) -> dict[str, float]:
        return {"brighter": 0.5 * images}


def test_a_variant_is_a_class_and_a_name() -> None:
    trainer = tiny_trainer(extensions={"brighter": Brighter()}, steps=1)
    seen: list[Tensor] = []
    trainer.image_discriminator.register_forward_pre_hook(lambda network, args: seen.append(args[0]))
    trainer.run()
    target = torch.stack([item["image"] for item in trainer.state.output])
    torch.testing.assert_close(seen[0][:4], target + 0.5)
    assert trainer.state.output[0]["brighter"] == 2.0
