# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from monai_semgan import cli
from monai_semgan.apps import label_budget
from monai_semgan.bundle import Bundle
from tests.tiny_bundle import LISTS, tiny_bundle, tiny_data

FEW = {"max_epochs": 1, "steps_per_epoch": 2, "num_workers": 1}
SCORES = {"dice": {"head": "Dice", "digits": 3}, "hausdorff95_pixel": {"head": "HD95, pixels", "digits": 1}}
METHODS = ["U-Net", "SemanticGAN, encoder only", "SemanticGAN, refined", "student", "both"]
ANSWERS = ("unet", "encoder", "refined", "student_answer", "both_answer")


@pytest.fixture
def experiment(tmp_path: Path, repository: Path) -> Path:
    """An experiment with one budget, a small bundle and small data."""
    path = tiny_bundle(tmp_path, repository) / "configs" / "table.yaml"
    tiny_data(tmp_path / "data")
    config = yaml.safe_load(path.read_text())
    config |= {
        "dataset_dir": str(tmp_path / "data"),
        "output_dir": str(tmp_path / "output"),
        "lists": ["test"],
        "scores": SCORES,
        "budgets": [{"train_list": "train_2"}],
        "gan": FEW,
        "encoder": FEW,
        "student": FEW | {"agreement": 0},
        "unet": FEW,
    }
    path.write_text(yaml.safe_dump(config))
    return path


def bundle_of(experiment: Path) -> Bundle:
    return Bundle(experiment.parents[1])


def change(path: Path, **settings: Any) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | settings))


def test_the_chain_makes_the_table_and_runs_nothing_twice(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "output"
    change(experiment, encoder=FEW | {"val_list": "nowhere"})
    assert label_budget.table(bundle_of(experiment)) == 1
    assert "train_2/encoder: exit code 1" in capsys.readouterr().err
    assert not (output / "train_2" / "encoder" / "finished.json").exists()
    assert METHODS[0] in (output / "table.csv").read_text()

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (output / "train_2").rglob("*") if path.is_file()}

    made = files()
    change(experiment, encoder=FEW)
    assert label_budget.table(bundle_of(experiment)) == 0
    assert made.items() <= files().items()
    with (output / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == METHODS
    for row, folder in zip(rows, [f"{name}_test" for name in ANSWERS], strict=True):
        assert (row["labels"], row["list"], row["n"]) == ("2", "test", str(LISTS["test"]))
        with (output / "train_2" / folder / "report.csv").open(newline="") as file:
            dice = [float(image["dice"]) for image in csv.DictReader(file)]
        assert float(row["dice"]) == pytest.approx(sum(dice) / len(dice), abs=1e-6)
    lines = (output / "table.md").read_text().splitlines()
    assert lines[0] == f"| labels | method | `test` (n = {LISTS['test']}) Dice | HD95, pixels |"
    assert lines[2].startswith(f"| 2 | U-Net | {float(rows[0]['dice']):.3f} |")

    made = files()
    assert label_budget.table(bundle_of(experiment)) == 0
    assert files() == made

    # a score that the bundle did not compute
    change(experiment, scores={"thresholded_iou": {"head": "Jaccard", "digits": 3}})
    assert label_budget.table(bundle_of(experiment)) == 1
    assert "unet_test/summary.json has no ['thresholded_iou']" in capsys.readouterr().err

    # what was made with other settings is not passed off as the result of these
    change(experiment, scores=SCORES, unet=FEW | {"max_epochs": 2})
    assert label_budget.table(bundle_of(experiment)) == 1


def test_plan_covers_budgets_lists_and_the_warm_start(experiment: Path, tmp_path: Path) -> None:
    budgets = [{"train_list": "train_2", "gan": {"max_epochs": 3}}, {"train_list": "train_3", "warm_start": "train_2"}]
    change(experiment, budgets=budgets, lists=["val", "ood_test"])
    stages = label_budget.plan(label_budget.load_config(bundle_of(experiment)))
    assert len(stages) == 2 * (4 + 5 * 2)
    by_name = {stage.folder.relative_to(tmp_path / "output").as_posix(): stage for stage in stages}
    assert by_name["train_2/gan"].settings["max_epochs"] == 3
    assert "warm_start" not in by_name["train_2/gan"].settings
    assert by_name["train_3/gan"].settings["max_epochs"] == 1
    assert by_name["train_3/gan"].settings["warm_start"] == tmp_path / "output" / "train_2" / "gan" / "state.pt"
    assert by_name["train_3/encoder"].settings["gan_ckpt_path"] == tmp_path / "output" / "train_3" / "gan" / "state.pt"
    assert by_name["train_3/encoder_val"].settings["displayable_configs::refine_steps"] == 0
    assert "displayable_configs::refine_steps" not in by_name["train_3/refined_val"].settings
    student = by_name["train_3/student"].settings
    assert student["gan_ckpt_path"] == tmp_path / "output" / "train_3" / "encoder" / "model.pt"
    answer = by_name["train_3/student_answer_val"].settings
    assert answer["displayable_configs::answer"] == "student"
    assert answer["ckpt_path"] == tmp_path / "output" / "train_3" / "student" / "model.pt"
    assert by_name["train_3/unet_ood_test"].row == {"labels": 3, "method": "U-Net", "list": "ood_test"}


def test_a_budget_can_share_the_generator_of_another(experiment: Path, tmp_path: Path) -> None:
    change(experiment, budgets=[{"train_list": "train_2"}, {"train_list": "train_3", "generator": "train_2"}])
    stages = label_budget.plan(label_budget.load_config(bundle_of(experiment)))
    by_name = {stage.folder.relative_to(tmp_path / "output").as_posix(): stage for stage in stages}
    assert "train_2/gan" in by_name and "train_3/gan" not in by_name
    settings = by_name["train_3/encoder"].settings
    assert settings["gan_ckpt_path"] == tmp_path / "output" / "train_2" / "gan" / "state.pt"
    assert settings["teacher_ckpt_path"] == tmp_path / "output" / "train_3" / "unet" / "model.pt"


def test_a_list_can_be_evaluated_with_a_further_config(experiment: Path, tmp_path: Path) -> None:
    shift = tmp_path / "shift.yaml"
    shift.write_text("{}")
    relative = os.path.relpath(shift, bundle_of(experiment).root)
    change(experiment, lists=["test", {"name": "shift", "list_key": "test", "config": relative}])
    config = label_budget.load_config(bundle_of(experiment))
    stages = {stage.folder.name: stage for stage in label_budget.plan(config)}
    for name in ANSWERS:
        test, shifted = stages[f"{name}_test"], stages[f"{name}_shift"]
        assert shifted.config_files[:-1] == test.config_files
        assert Path(shifted.config_files[-1]).samefile(shift)
        assert shifted.settings == test.settings
        assert shifted.row == test.row | {"list": "shift"}


def test_the_table_has_the_scores_of_the_experiment(tmp_path: Path) -> None:
    scores = {"iou": {"head": "Jaccard", "digits": 2}}
    row = {"labels": 2, "method": "U-Net", "list": "test", "n": 4, "iou": 0.625}
    label_budget.write_tables([row, row | {"method": "other", "list": "shift", "iou": None}], scores, tmp_path)
    assert (tmp_path / "table.csv").read_text().split() == [
        "labels,method,list,n,iou",
        "2,U-Net,test,4,0.625",
        "2,other,shift,4,",
    ]
    assert (tmp_path / "table.md").read_text().splitlines() == [
        "| labels | method | `test` (n = 4) Jaccard | `shift` (n = 4) Jaccard |",
        "|---:|---|---:|---:|",
        "| 2 | U-Net | 0.62 | - |",
        "| 2 | other | - | - |",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budgets": [{"train_list": "train_99"}]}, "no list ['train_99']"),
        ({"lists": ["test", "nowhere"]}, "no list ['nowhere']"),
        ({"budgets": [{"train_list": "train_2", "warm_start": "train_3"}]}, "builds on train_3"),
        ({"lists": [{"name": "shift", "list_key": "nowhere", "config": __file__}]}, "no list ['nowhere']"),
        ({"lists": [{"name": "shift", "list_key": "test", "config": "nowhere.yaml"}]}, "nowhere.yaml of shift"),
        ({"lists": [{"name": "shift", "config": __file__}]}, "has name, list_key and config"),
        ({"lists": ["test", {"name": "test", "list_key": "test", "config": __file__}]}, "has test twice"),
        ({"scores": {"jaccard": {"head": "Jaccard", "digits": 3}}}, "scores has ['jaccard']"),
        ({"dataset_dir": "nowhere"}, "set SEMGAN_DATA or give --root"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    experiment: Path, settings: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(experiment, **settings)
    assert cli.main(["table", str(bundle_of(experiment).root)]) == 1
    assert message in capsys.readouterr().err


def test_the_shipped_experiment_names_what_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_data(tmp_path / "chest_xray")
    monkeypatch.setenv("SEMGAN_DATA", str(tmp_path))
    config = label_budget.load_config(Bundle("lung_xray"))
    assert config["datalist"] == str(tmp_path / "chest_xray" / "datalist.json")
    lists = {name: [] for name in ["val", "test", "ood_test", *(b["train_list"] for b in config["budgets"])]}
    (tmp_path / "chest_xray" / "datalist.json").write_text(json.dumps(lists))
    methods = {stage.row["method"] for stage in label_budget.plan(config) if stage.row}
    assert methods == set(METHODS)
