# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from configs import active_learning
from monai_semgan.networks.nets import SemanticGAN
from tests.tiny_bundle import LISTS, TINY_NETWORK, tiny_bundle, tiny_data


@pytest.fixture
def experiment(tmp_path: Path, repository: Path) -> Path:
    """An experiment with a small network and small data: 1 of 4 images of the pool, or of random ones, is labelled."""
    bundle = tiny_bundle(tmp_path, repository)
    shutil.copytree(repository / "configs", tmp_path / "configs")
    datalist = tiny_data(tmp_path / "data")
    lists = json.loads(datalist.read_text())
    lists["pool"] = lists["train_2"] + lists["train_3"] + lists["ood_test"][:1]
    datalist.write_text(json.dumps(lists))
    network = SemanticGAN(**TINY_NETWORK)
    network.prior.fit(torch.randn(9, network.generator.num_codes, network.generator.latent_dim))
    torch.save(network.state_dict(), tmp_path / "model.pt")
    path = tmp_path / "configs" / "lung_xray_active_learning.yaml"
    change(
        path,
        bundle=str(bundle),
        dataset_dir=str(tmp_path / "data"),
        output_dir=str(tmp_path / "output"),
        model=str(tmp_path / "model.pt"),
        known_list="train_2",
        pool_list="pool",
        number=1,
        seeds=[3],
        lists=["test"],
        uncertainty={"samples": 2, "steps": 1},
        fine_tune={"max_epochs": 1, "steps_per_epoch": 1},
    )
    return path


def change(path: Path, **settings: Any) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | settings))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_least_understood_and_random_images_are_learned_and_compared(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "output"
    assert active_learning.main(["--config", str(experiment)]) == 0
    scores = read(output / "scores" / "scores.csv")
    known = {item["image"] for item in json.loads((tmp_path / "data" / "datalist.json").read_text())["train_2"]}
    assert len(scores) == 4 and not known & {row["image"] for row in scores}
    ranks = [float(row["rank"]) for row in scores]
    assert ranks == sorted(ranks, reverse=True)
    rows = read(output / "table.csv")
    assert [(row["images"], row["seed"], row["n"]) for row in rows] == [
        ("before", "", str(LISTS["test"])),
        ("least understood", "3", str(LISTS["test"])),
        ("random", "3", str(LISTS["test"])),
    ]
    for name in ("least_understood_3", "random_3"):
        labelled = json.loads((output / name / "datalist.json").read_text())["labelled"]
        assert known < {item["image"] for item in labelled} and len(labelled) == 3
        report = json.loads((output / name / "fine_tune" / "model.json").read_text())
        assert (report["labels"], report["images"], report["held_out_labels"]) == (3, 6, LISTS["val"])
    labelled = json.loads((output / "least_understood_3" / "datalist.json").read_text())["labelled"]
    assert labelled[-1]["image"] == scores[0]["image"]
    lines = (output / "table.md").read_text().splitlines()
    assert lines[0] == f"| images | seeds | `test` (n = {LISTS['test']}) dice |"
    assert lines[3].startswith("| least understood | 1 |")

    made = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.name in ("model.pt", "summary.json")}
    assert active_learning.main(["--config", str(experiment)]) == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made
    change(experiment, spread_weight=0.5)
    with pytest.raises(SystemExit):
        active_learning.main(["--config", str(experiment)])
    assert "was made with other settings" in capsys.readouterr().err


def test_the_table_has_mean_and_spread_over_seeds(tmp_path: Path) -> None:
    values = [0.5, 0.75, 0.625]
    rows = [
        {"images": "random", "seed": seed, "list": "test", "n": 4, "dice": dice} for seed, dice in enumerate(values)
    ]
    active_learning.write_tables([{**rows[0], "images": "before", "dice": 0.25}, *rows], "dice", tmp_path)
    assert (tmp_path / "table.md").read_text().splitlines()[2:] == [
        "| before | - | 0.2500 |",
        f"| random | 3 | 0.6250 ± {statistics.stdev(values):.4f} |",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"known_list": "nowhere"}, "has no list \\['nowhere'\\]"),
        ({"number": 5}, "has 4 items, fewer than the 5 of number"),
        ({"model": "nowhere.pt"}, "says how it is made"),
        ({"dataset_dir": "nowhere"}, "set SEMGAN_DATA"),
    ],
)
def test_a_wrong_experiment_is_refused(experiment: Path, settings: dict[str, Any], message: str) -> None:
    change(experiment, **settings)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        active_learning.load_config(experiment)
