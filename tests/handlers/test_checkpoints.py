# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_semgan.engines.semantic_gan_trainer import SemanticGANTrainer
from monai_semgan.handlers import WeightsSaver
from monai_semgan.handlers.checkpoints import ResumableCheckpoint, random_state, restore_random_state
from tests.tiny_gan import EPOCHS, STEPS, resumable_trainer, tiny_trainer


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str]:
    """State and loss rows of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("straight")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    resumable_trainer(folder).run()
    torch.set_num_threads(threads)
    return read(folder)


def read(folder: Path) -> tuple[dict, str]:
    return torch.load(folder / "state.pt", weights_only=True), (folder / "losses.csv").read_text()


def assert_same(one: object, other: object, place: str = "state") -> None:
    """Compare states bit by bit."""
    assert type(one) is type(other), place
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), place  # type: ignore[arg-type]
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), place  # type: ignore[attr-defined]
        for name in one:
            assert_same(one[name], other[name], f"{place}.{name}")  # type: ignore[index]
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place  # type: ignore[arg-type]
        for index, (a, b) in enumerate(zip(one, other)):  # type: ignore[call-overload]
            assert_same(a, b, f"{place}[{index}]")
    else:
        assert one == other, place


@pytest.mark.parametrize("stop", [1, 2])
def test_a_new_trainer_goes_on_where_the_last_stopped(tmp_path: Path, straight: tuple[dict, str], stop: int) -> None:
    resumable_trainer(tmp_path, max_epochs=stop).run()
    # what the process did in between must not matter
    torch.manual_seed(123)
    random.seed(4)
    trainer = resumable_trainer(tmp_path)
    trainer.run()
    assert trainer.state.epoch == EPOCHS and trainer.state.iteration == EPOCHS * STEPS
    state, rows = read(tmp_path)
    assert_same(state, straight[0])
    assert rows == straight[1]


def test_stopped_in_the_middle_of_an_epoch(tmp_path: Path, straight: tuple[dict, str]) -> None:
    trainer = resumable_trainer(tmp_path)

    @trainer.on(Events.ITERATION_STARTED(once=STEPS + 3))
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    resumable_trainer(tmp_path).run()
    state, rows = read(tmp_path)
    assert_same(state, straight[0])
    assert rows == straight[1]


def train_in_a_process(folder: Path, repository: Path, moment: str) -> int:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(repository)}
    command = [sys.executable, "-m", "tests.tiny_gan", str(folder), moment]
    process = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=300)
    assert process.returncode in (0, -signal.SIGKILL), process.stderr
    return process.returncode


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_processes_go_on_to_the_same_numbers(
    tmp_path: Path, repository: Path, straight: tuple[dict, str]
) -> None:
    """Killed within the second epoch, killed again between write and rename of its save, then left alone."""
    assert train_in_a_process(tmp_path, repository, f"iteration:{STEPS + 3}") == -signal.SIGKILL
    assert torch.load(tmp_path / "state.pt", weights_only=True)["epoch"] == 1
    assert train_in_a_process(tmp_path, repository, "save:2") == -signal.SIGKILL
    assert (tmp_path / "state.pt.partial").exists()
    assert torch.load(tmp_path / "state.pt", weights_only=True)["epoch"] == 1
    resumable_trainer(tmp_path).run()
    state, rows = read(tmp_path)
    for name in ("generator", "generator_ema", "image_discriminator", "joint_discriminator"):
        assert_same(state[name], straight[0][name], name)
    assert_same(state, straight[0])
    assert rows == straight[1]


def test_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    resumable_trainer(tmp_path, max_epochs=1).run()
    before = (tmp_path / "state.pt").read_bytes(), (tmp_path / "losses.csv").read_text()
    trainer = resumable_trainer(tmp_path, max_epochs=1)
    trainer.run()
    assert trainer.state.iteration == STEPS
    assert ((tmp_path / "state.pt").read_bytes(), (tmp_path / "losses.csv").read_text()) == before


def checkpointed(path: Path, interval: int = 1, **settings: object) -> SemanticGANTrainer:
    trainer = tiny_trainer(**settings)  # type: ignore[arg-type]
    ResumableCheckpoint(path, interval=interval).attach(trainer)
    return trainer


def test_interval_and_last_epoch(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.pt"
    trainer = checkpointed(path, interval=2, max_epochs=3, steps=1)
    saved: list[int] = []
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED,
        lambda: saved.append(torch.load(path, weights_only=True)["epoch"] if path.exists() else 0),
    )
    trainer.run()
    assert saved == [0, 2, 3]


def test_restored_optimisers_counters_and_strength(tmp_path: Path) -> None:
    settings = {"max_epochs": 2, "real_sign_target": 2.0, "adaptation_images": 64}
    first = checkpointed(tmp_path / "state.pt", **settings)
    first.run()
    second = checkpointed(tmp_path / "state.pt", **settings)
    ResumableCheckpoint(tmp_path / "state.pt").load(second)
    assert second.loader.step == first.loader.step == 4
    assert second.state.epoch == 2 and second.state.iteration == 4
    strength = [trainer.extensions["augmentation"].image.p for trainer in (second, first)]
    assert strength[0] == strength[1] < 0.5
    assert second.ema.images_seen == first.ema.images_seen == 16
    assert second.path_length.mean_length == first.path_length.mean_length > 0
    assert second.lazy == first.lazy and second.lazy["r1_image"] > 0
    for name in ("g_optimizer", "d_image_optimizer", "d_joint_optimizer"):
        assert_same(getattr(second, name).state_dict(), getattr(first, name).state_dict(), name)


def test_file_without_lazy_numbers_loads(tmp_path: Path) -> None:
    checkpointed(tmp_path / "state.pt").run()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["lazy"]
    torch.save(state, tmp_path / "state.pt")
    trainer = checkpointed(tmp_path / "state.pt", max_epochs=2)
    trainer.run()
    assert trainer.state.epoch == 2


def test_warm_start_takes_the_networks_and_not_the_counters(tmp_path: Path) -> None:
    checkpointed(tmp_path / "first.pt", max_epochs=2).run()
    warm = torch.load(tmp_path / "first.pt", weights_only=True)
    trainer = tiny_trainer()
    handler = ResumableCheckpoint(tmp_path / "state.pt", warm_start=tmp_path / "first.pt")
    handler.load(trainer)
    for name, item in trainer.checkpoint.items():
        assert_same(item.state_dict(), warm[name], name)
    assert trainer.state.iteration == trainer.loader.step == 0
    # the average goes on from the one there
    assert trainer.ema.images_seen == 16
    handler.attach(trainer)
    trainer.run()
    assert torch.load(tmp_path / "state.pt", weights_only=True)["iteration"] == 2
    # from now on the run's own file counts
    again = tiny_trainer(max_epochs=2)
    handler.load(again)
    assert again.state.iteration == again.loader.step == 2
    with pytest.raises(FileNotFoundError, match="missing"):
        ResumableCheckpoint(tmp_path / "none.pt", warm_start=tmp_path / "missing.pt").load(tiny_trainer())


def test_file_of_another_trainer_is_refused(tmp_path: Path) -> None:
    torch.save({"network": {}}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match=r"state\.pt lacks .*generator"):
        checkpointed(tmp_path / "state.pt").run()


def test_nan_loss_leaves_the_file_intact(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    checkpointed(path).run()
    before = path.read_bytes()
    trainer = checkpointed(path, max_epochs=2)
    for item in trainer.loader.images:
        item["image"][:, 3, 3] = float("nan")
    with pytest.raises(FloatingPointError, match="last checkpoint is intact"):
        trainer.run()
    assert path.read_bytes() == before


def test_weights_that_are_not_finite_leave_the_file_intact(tmp_path: Path) -> None:
    """The last step of an epoch may spoil the weights after its loss was checked."""
    path = tmp_path / "state.pt"
    checkpointed(path).run()
    before = path.read_bytes()
    trainer = checkpointed(path, max_epochs=2, steps=2)

    @trainer.on(Events.ITERATION_COMPLETED(once=4))
    def spoil() -> None:
        trainer.generator.constant.data[0, 0, 0, 0] = float("inf")

    with pytest.raises(FloatingPointError, match="generator holds values that are not finite after epoch 2"):
        trainer.run()
    assert path.read_bytes() == before


def test_random_generators_come_back() -> None:
    def draw() -> tuple[float, float, float, float]:
        return random.random(), random.gauss(0, 1), float(np.random.standard_normal()), torch.rand(1).item()

    draw()
    state = random_state()
    first = draw(), draw()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    restore_random_state(state)
    assert (draw(), draw()) == first


def test_epochs_of_another_length_are_refused(tmp_path: Path) -> None:
    resumable_trainer(tmp_path, max_epochs=1).run()
    trainer = resumable_trainer(tmp_path, max_epochs=2)
    trainer.loader.steps += 1
    with pytest.raises(ValueError, match="keep the steps per epoch"):
        trainer.run()


def test_the_average_is_written_at_the_end_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "models" / "model.pt"
    engine = Engine(lambda engine, batch: engine.ema.average.bias.data.add_(1))
    engine.ema = SimpleNamespace(average=nn.Linear(2, 1))
    before = engine.ema.average.bias.item()
    WeightsSaver(path).attach(engine)
    engine.run([0, 1], max_epochs=2)
    state = torch.load(path, weights_only=True)
    assert list(state) == ["weight", "bias"]
    assert state["bias"].item() == pytest.approx(before + 4)
    assert list(path.parent.iterdir()) == [path]


def test_a_part_is_written_beside_the_rest(tmp_path: Path) -> None:
    torch.save({"encoder.weight": torch.ones(2), "student.old": torch.ones(1)}, tmp_path / "encoder.pt")
    engine = Engine(lambda engine, batch: None)
    engine.ema = SimpleNamespace(average=nn.Linear(2, 1))
    WeightsSaver(tmp_path / "model.pt", prefix="student.", beside=tmp_path / "encoder.pt").attach(engine)
    engine.run([0])
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert list(state) == ["encoder.weight", "student.weight", "student.bias"]
    assert torch.equal(state["student.weight"], engine.ema.average.weight)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, repository: Path) -> None:
    """The limit of a file's size stands for the disk's: writing beyond it fails in the same place."""
    code = """
import resource, sys, torch
from pathlib import Path
from monai_semgan.handlers.checkpoints import save_whole
path = Path(sys.argv[1])
save_whole({"weight": torch.ones(10)}, path)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_whole({"weight": torch.ones(100_000)}, path)
except OSError as error:
    print(error)
"""
    path = tmp_path / "state.pt"
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=repository, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == (
        f"{path} cannot be written (File too large): make room, then run the same command again"
    )
    assert torch.equal(torch.load(path, weights_only=True)["weight"], torch.ones(10))
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]
