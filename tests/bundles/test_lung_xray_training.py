# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.utils import set_determinism
from PIL import Image

from monai_semgan.engines import EncoderExtension, PriorPairs
from monai_semgan.handlers import ResumableCheckpoint
from monai_semgan.networks.nets import SemanticGAN
from tests.tiny_bundle import LISTS, TINY_NETWORK, tiny_bundle, tiny_data

STEPS = 2
Workflow = Callable[..., ConfigWorkflow]


@pytest.fixture(autouse=True)
def leave_no_trace() -> Iterator[None]:
    yield
    set_determinism(seed=None)
    # it writes to the standard output of the test that made it first
    logging.root.manager.loggerDict.pop("monai.handlers.StatsHandler", None)


@pytest.fixture
def bundle(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with a small network, which is also the working directory, with data beside it."""
    bundle = tiny_bundle(tmp_path, repository)
    tiny_data(tmp_path / "data")
    monkeypatch.chdir(bundle)
    return bundle


@pytest.fixture
def training(bundle: Path, tmp_path: Path) -> Workflow:
    """Make a training of the bundle, by the name of its config."""

    def make(name: str | list[str], output: str, **override: Any) -> ConfigWorkflow:
        settings = {
            "datalist": str(tmp_path / "data" / "datalist.json"),
            "dataset_dir": str(tmp_path / "data"),
            "train_list": "train_2",
            "output_dir": str(tmp_path / output),
            "steps_per_epoch": STEPS,
            "num_workers": 1,
        }
        files = f"configs/{name}.yaml" if isinstance(name, str) else name
        return ConfigWorkflow(files, logging_file=False, workflow_type="train", **settings | override)

    return make


def execute(workflow: ConfigWorkflow) -> Any:
    """Run a training and return its trainer."""
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()
    workflow.finalize()
    return workflow.parser.get_parsed_content("train::trainer")


def losses(folder: Path) -> list[dict[str, str]]:
    with (folder / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_datasets_are_upright_and_of_the_network_size(training: Workflow, tmp_path: Path) -> None:
    workflow = training("train_gan", "gan")
    workflow.initialize()
    loader = workflow.parser.get_parsed_content("train::dataloader")
    assert len(loader.images) == LISTS["unlabeled"] + LISTS["train"]
    assert len(loader.pairs) == LISTS["train_2"]
    assert all(set(item) == {"image"} for item in loader.images)
    side = TINY_NETWORK["size"]
    for index, item in enumerate(loader.pairs):
        assert set(item) == {"image", "label"}
        for value in item.values():
            assert type(value) is torch.Tensor and value.dtype == torch.float32 and value.shape == (1, side, side)
        assert item["image"].min() == -1 and item["image"].max() == 1
        with Image.open(tmp_path / "data" / f"train_2_{index}_label.png") as picture:
            mask = torch.from_numpy(np.array(picture) / 255.0)
        assert torch.equal(item["label"] == 1, F.adaptive_avg_pool2d(mask[None], side) >= 0.5)
        # the bright ellipses are where the label is
        assert item["image"][item["label"] == 1].mean() > item["image"][item["label"] == 0].mean() + 0.5


def test_gan_resumes_as_if_nothing_had_happened(training: Workflow, tmp_path: Path) -> None:
    execute(training("train_gan", "whole", max_epochs=2))
    # the interval of checkpoints is 2, but the last epoch is always saved
    execute(training("train_gan", "parts", max_epochs=1))
    execute(training("train_gan", "parts", max_epochs=2))
    whole, parts = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts"))
    assert whole["iteration"] == parts["iteration"] == 2 * STEPS
    for network in ("generator", "generator_ema", "image_discriminator", "joint_discriminator"):
        for name, value in whole[network].items():
            assert torch.equal(value, parts[network][name]), (network, name)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    assert (tmp_path / "whole" / "samples" / "samples_00002.png").is_file()
    assert list((tmp_path / "whole" / "tensorboard").iterdir())


def test_gan_starts_warm_with_new_counters(training: Workflow, tmp_path: Path) -> None:
    first = execute(training("train_gan", "first", max_epochs=1))
    workflow = training("train_gan", "second", train_list="train_3", warm_start=str(tmp_path / "first" / "state.pt"))
    workflow.initialize()
    trainer = workflow.parser.get_parsed_content("train::trainer")
    handlers = workflow.parser.get_parsed_content("train::handlers")
    (handler,) = [handler for handler in handlers if isinstance(handler, ResumableCheckpoint)]
    handler.load(trainer)
    assert (trainer.state.epoch, trainer.state.iteration, trainer.loader.step) == (0, 0, 0)
    for mine, theirs in zip(trainer.generator.state_dict().values(), first.generator.state_dict().values()):
        assert torch.equal(mine, theirs)
    assert trainer.g_optimizer.state_dict()["state"]


def test_decoded_images_are_kept_on_the_disk(training: Workflow, tmp_path: Path) -> None:
    workflow = training("train_gan", "gan", cache_dir=str(tmp_path / "cache"))
    workflow.initialize()
    loader = workflow.parser.get_parsed_content("train::dataloader")
    files = list((tmp_path / "cache").glob("*.pt"))
    assert len(files) == len(loader.images) + len(loader.pairs)
    again = training("train_gan", "gan", cache_dir=str(tmp_path / "cache"))
    again.initialize()
    assert torch.equal(again.parser.get_parsed_content("train::dataloader").pairs[0]["label"], loader.pairs[0]["label"])
    assert sorted((tmp_path / "cache").glob("*.pt")) == sorted(files)


def test_encoder_writes_weights_that_inference_takes(training: Workflow, tmp_path: Path) -> None:
    gan = execute(training("train_gan", "gan", max_epochs=1))
    paths = {"gan_ckpt_path": str(tmp_path / "gan" / "state.pt"), "ckpt_path": str(tmp_path / "new" / "model.pt")}
    frozen = {"label_lr": 0.0, "generator_lr": 0.0}
    workflow = training("train_encoder", "encoder", max_epochs=2, val_interval=1, **frozen, **paths)
    trainer = execute(workflow)
    weights = torch.load(tmp_path / "new" / "model.pt", weights_only=True)
    network = SemanticGAN(**TINY_NETWORK)
    network.load_state_dict(weights)
    for name, value in gan.ema.average.state_dict().items():
        assert torch.equal(weights[f"generator.{name}"], value), name
    for name, value in trainer.ema.average.state_dict().items():
        assert torch.equal(weights[name], value), name
    evaluator = workflow.parser.get_parsed_content("validate::evaluator")
    assert evaluator.network is trainer.ema.average
    assert evaluator.state.epoch == 2
    assert 0 <= evaluator.state.metrics["val_mean_dice"] <= 1
    assert len(losses(tmp_path / "encoder")) == 2

    inference = ConfigWorkflow(
        ["configs/inference.yaml", "configs/evaluate.yaml"],
        logging_file=False,
        workflow_type="infer",
        datalist=str(tmp_path / "data" / "datalist.json"),
        dataset_dir=str(tmp_path / "data"),
        list_key="test",
        ckpt_path=paths["ckpt_path"],
        output_dir=str(tmp_path / "results"),
    )
    inference.initialize()
    inference.run()
    inference.finalize()
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert (summary["images"], summary["failed"]) == (LISTS["test"], 0)


def test_encoder_resumes_as_if_nothing_had_happened(training: Workflow, tmp_path: Path) -> None:
    execute(training("train_gan", "gan", max_epochs=1))
    gan = {"gan_ckpt_path": str(tmp_path / "gan" / "state.pt"), "val_interval": 1}
    execute(training("train_encoder", "whole", max_epochs=2, ckpt_path=str(tmp_path / "whole.pt"), **gan))
    # stopped in the second epoch: the run is repeated from the checkpoint of the first
    parts = training("train_encoder", "parts", max_epochs=2, ckpt_path=str(tmp_path / "parts.pt"), **gan)
    parts.initialize()
    trainer = parts.parser.get_parsed_content("train::trainer")

    class Killed(Exception):
        pass

    def kill(engine: Any) -> None:
        if engine.state.iteration == STEPS + 1:
            raise Killed

    trainer.add_event_handler(Events.ITERATION_COMPLETED, kill)
    with pytest.raises(RuntimeError) as error:
        parts.run()
    assert isinstance(error.value.__cause__, Killed)
    assert not (tmp_path / "parts.pt").exists()
    execute(training("train_encoder", "parts", max_epochs=2, ckpt_path=str(tmp_path / "parts.pt"), **gan))
    whole, again = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("whole", "parts"))
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("train_gan", {"datalist": None, "dataset_dir": None}, "no images given"),
        ("train_gan", {"train_list": "none"}, "none"),
        ("train_encoder", {"gan_ckpt_path": "none.pt"}, "none.pt does not exist"),
        ("train_encoder", {"gan_ckpt_path": "other.pt"}, "other.pt holds no generator"),
        ("train_encoder", {"gan_ckpt_path": "small.pt"}, "does not fit network_def"),
    ],
)
def test_what_is_missing_is_told_in_a_line(
    training: Workflow, bundle: Path, name: str, override: dict[str, Any], message: str
) -> None:
    torch.save({"weight": torch.zeros(1)}, bundle / "other.pt")
    torch.save({"generator_ema": {"constant": torch.zeros(1)}}, bundle / "small.pt")
    workflow = training(name, "output", max_epochs=1, **override)
    with pytest.raises(SystemExit, match=message):
        workflow.initialize()
        workflow.run()


def test_processes_train_the_same_weights(bundle: Path, tmp_path: Path) -> None:
    orders = "{'order': torch.tensor(@train::dataloader.image_order.batch(0, 12))}"
    state = f"@train::trainer.generator.state_dict() | {orders}"
    save = f"$torch.save({state}, @output_dir + f'/rank_{{dist.get_rank()}}.pt')"
    options = {
        "config_file": "['configs/train_gan.yaml','configs/multi_gpu_train.yaml']",
        "datalist": tmp_path / "data" / "datalist.json",
        "dataset_dir": tmp_path / "data",
        "train_list": "train_2",
        "output_dir": tmp_path / "gan",
        "max_epochs": 1,
        "steps_per_epoch": 4,
        # path length and R1 run within these few steps
        "train::trainer::settings::path_length_interval": 2,
        "train::trainer::settings::r1_interval": 3,
        # must not give both processes the same batches
        "seed": 3,
        "finalize": json.dumps([save, "$dist.destroy_process_group()"]),
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "monai.bundle", "run"]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    result = subprocess.run(command, cwd=bundle, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    first, second = (torch.load(tmp_path / "gan" / f"rank_{rank}.pt", weights_only=True) for rank in (0, 1))
    orders = first.pop("order"), second.pop("order")
    assert not torch.equal(*orders)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    state = torch.load(tmp_path / "gan" / "state.pt", weights_only=True)
    assert state["iteration"] == 4
    assert torch.equal(state["generator"]["constant"], first["constant"])


class Dimmer(EncoderExtension):
    """A variant of a user, in a file of its own."""

    def perturb(self, image: torch.Tensor) -> torch.Tensor:
        return image * 0.5


def test_extensions_are_left_out_and_added_by_a_line(training: Workflow, tmp_path: Path) -> None:
    execute(training("train_gan", "gan", max_epochs=1, **{"extensions::jitter::_disabled_": True, "amp": "false"}))
    override = {
        "gan_ckpt_path": str(tmp_path / "gan" / "state.pt"),
        "teacher_weight": 0,
        "extensions::perturbation::_disabled_": True,
    }
    # a line of a config, or of the command line
    line = tmp_path / "mine.yaml"
    line.write_text(f"extensions::dimmer: {{_target_: {__name__}.Dimmer}}\n")
    files = ["configs/train_encoder.yaml", str(line)]
    trainer = execute(training(files, "encoder", max_epochs=1, **override))
    assert list(trainer.extensions) == ["jitter", "samples", "code_loss", "tuning", "dimmer"]
    assert isinstance(trainer.extensions["dimmer"], Dimmer)
    assert "taught_segmentation" not in losses(tmp_path / "encoder")[0]


@pytest.mark.parametrize("held_out", [0, 2])
def test_fine_tuning_starts_from_the_weights_and_keeps_the_prior(
    training: Workflow, bundle: Path, tmp_path: Path, held_out: int
) -> None:
    network = SemanticGAN(**TINY_NETWORK)
    network.prior.fit(torch.randn(9, network.generator.num_codes, network.generator.latent_dim))
    torch.save(network.state_dict(), tmp_path / "start.pt")
    (tmp_path / "data" / "unlabeled_0.png").write_text("no picture")
    override = {} if held_out else {"validate::dataset::data": []}
    flow = training(
        ["configs/train_encoder.yaml", "configs/fine_tune.yaml"],
        "fine",
        start_ckpt_path=str(tmp_path / "start.pt"),
        ckpt_path=str(tmp_path / "model_v2.pt"),
        max_epochs=1,
        **override,
    )
    trainer = execute(flow)
    assert trainer.extensions["rehearsal"].rehearses and isinstance(trainer.extensions["samples"], PriorPairs)
    learned = torch.load(tmp_path / "model_v2.pt", weights_only=True)
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, learned[name])}
    assert any(name.startswith("encoder.") for name in moved)
    assert all(name.startswith("encoder.") or "to_label." in name for name in moved)
    # no step is large
    change = torch.cat([(learned[n] - network.state_dict()[n]).flatten().abs() for n in moved])
    assert change.max() < 10 * 3e-4
    report = json.loads((tmp_path / "model_v2.json").read_text())
    # the picture that cannot be read is left out
    assert (report["start"], report["labels"], report["images"]) == ("start.pt", 2, LISTS["unlabeled"] + 3 - 1)
    assert report["held_out_labels"] == held_out and (report["dice_before"] is None) == (not held_out)
