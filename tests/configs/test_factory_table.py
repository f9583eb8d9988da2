# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from configs import factory_table
from monai_semgan.bundle import Bundle
from monai_semgan.cli.synthesise import add_arguments
from monai_semgan.networks.nets import SemanticGAN
from tests.tiny_bundle import LISTS, TINY_NETWORK, tiny_bundle, tiny_data

ROWS = [
    {"method": "real", "samples": None, "real": 1},
    {"method": "synthetic", "samples": "diverse", "real": 0},
    {"method": "both", "samples": "diverse", "real": 0.75},
]


@pytest.fixture
def experiment(tmp_path: Path, repository: Path) -> Path:
    """An experiment with a small network and small data."""
    bundle = tiny_bundle(tmp_path, repository)
    shutil.copytree(repository / "configs", tmp_path / "configs")
    tiny_data(tmp_path / "data")
    network = SemanticGAN(**TINY_NETWORK)
    for head in network.encoder.heads:
        torch.nn.init.normal_(head.linear.weight)
    network.prior.fit(torch.randn(9, network.generator.num_codes, network.generator.latent_dim))
    torch.save(network.state_dict(), tmp_path / "model.pt")
    path = tmp_path / "configs" / "lung_xray_factory_table.yaml"
    change(
        path,
        bundle=str(bundle),
        dataset_dir=str(tmp_path / "data"),
        output_dir=str(tmp_path / "output"),
        model=str(tmp_path / "model.pt"),
        train_list="train_2",
        image_lists=["unlabeled", "train_3"],
        synthesise={"number": 4, "pieces": 0, "agreement": 0, "originality": 0, "variety": 0},
        samples={"diverse": {"truncation": 0.9}},
        rows=ROWS,
        unet={"max_epochs": 1, "steps_per_epoch": 1},
        evaluate={"displayable_configs::refine_steps": 0},
        lists=["test"],
    )
    return path


def change(path: Path, **settings: Any) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | settings))


def test_unets_learn_from_real_pairs_samples_and_both(experiment: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    assert factory_table.main(["--config", str(experiment)]) == 0
    with (output / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["real", "synthetic", "both", "SemanticGAN, refined"]
    assert {(row["labels"], row["list"], row["n"]) for row in rows} == {("2", "test", str(LISTS["test"]))}
    lists = json.loads((output / "datalist.json").read_text())
    assert set(lists) == {"diverse_0", "diverse_0.75"}
    drawn = sorted((output / "samples" / "diverse" / "images").glob("*.png"))
    assert [item["image"] for item in lists["diverse_0"]] == [str(path) for path in drawn] and len(drawn) == 4
    # three real pairs to a sample
    real = [item for item in lists["diverse_0.75"] if not Path(item["image"]).is_absolute()]
    assert len(real) == 12 and len(lists["diverse_0.75"]) == 16
    assert {item["image"] for item in real} == {"train_2_0.png", "train_2_1.png"}
    with (output / "samples" / "diverse" / "samples.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert row["truncation"] == "0.9" and row["agreement"] and row["originality"]

    made = {
        path: path.stat().st_mtime_ns for path in output.rglob("*") if path.suffix == ".pt" or path.suffix == ".png"
    }
    assert factory_table.main(["--config", str(experiment)]) == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_each_set_of_samples_is_drawn_once_and_after_its_teacher(experiment: Path, tmp_path: Path) -> None:
    stages = factory_table.plan(factory_table.load_config(experiment))
    names = [stage.folder.relative_to(tmp_path / "output").as_posix() for stage in stages]
    assert names == [
        "train_2/unet",
        "train_2/evaluation_test",
        "samples/diverse",
        "diverse_0/unet",
        "diverse_0/evaluation_test",
        "diverse_0.75/unet",
        "diverse_0.75/evaluation_test",
        "semantic_gan/evaluation_test",
    ]
    command = stages[2].command
    assert command[command.index("--teacher") + 1] == str(stages[0].folder / "model.pt")
    assert command[command.index("--list") + 1 :][:2] == ["unlabeled", "train_3"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_list": "nowhere"}, "has no list \\['nowhere'\\]"),
        ({"model": "nowhere.pt"}, "name the weights of a generative model with --model"),
        ({"dataset_dir": "nowhere"}, "set SEMGAN_DATA"),
        ({"rows": ROWS[1:]}, "the first of rows has to have no samples"),
        ({"rows": [{**ROWS[0], "real": 0.5}]}, "has no samples and a share of 0.5 real pairs: say 1"),
        ({"rows": [ROWS[0], {**ROWS[1], "real": 1}]}, "a share from 0 to below 1"),
        ({"rows": [ROWS[0], {**ROWS[1], "samples": "dull"}]}, "name one of \\['diverse'\\]"),
        ({"rows": [{"method": "real"}]}, "an entry has method, real, samples"),
    ],
)
def test_a_wrong_experiment_is_refused(experiment: Path, settings: dict[str, Any], message: str) -> None:
    change(experiment, **settings)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        factory_table.load_config(experiment)


def test_the_experiment_fits_its_bundle(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its options are known to the command, and its settings to the bundle."""
    data = tmp_path / "chest_xray"
    data.mkdir()
    names = ("train_35", "train_175", "unlabeled", "val", "test", "ood_test")
    (data / "datalist.json").write_text(json.dumps({name: [{"image": "a.png", "label": "b.png"}] for name in names}))
    monkeypatch.setenv("SEMGAN_DATA", str(tmp_path))
    config = factory_table.load_config(repository / "configs" / "lung_xray_factory_table.yaml")
    stages = factory_table.plan(config)
    drawn = [stage.command for stage in stages if isinstance(stage, factory_table.Synthesis)]
    assert len(drawn) == len(config["samples"])
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for command in drawn:
        assert parser.parse_args(command[3:]).number == config["synthesise"]["number"]
    for stage in stages:
        if not isinstance(stage, factory_table.Synthesis):
            files = [Path(file).name for file in stage.config_files]
            assert Bundle(config["bundle"]).parser(*files, **stage.settings, output_dir=stage.folder)
