# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from monai_semgan import recipes
from monai_semgan.apps import new_bundle
from monai_semgan.apps.check_data import Facts, Findings, Shape, check
from monai_semgan.apps.new_bundle import axial_spread, make, make_plan, symmetry
from monai_semgan.bundle import Bundle
from monai_semgan.cli import main
from tests.organ import organ

SPEED = {"unet": 0.1, "gan": 0.3, "encoder": 0.3, "student": 0.25}


def plan_file(folder: Path, **values) -> Path:
    """A plan that names the speed, so that nothing is measured."""
    path = folder / "given.yaml"
    path.write_text(yaml.safe_dump({"size": 32, "seconds_per_step": SPEED, "hours": 1.0} | values))
    return path


def fact(list_key="train", label=True, thickness=0.3, centre=(0.5, 0.5), side=0.4, angle=float("nan"), **values):
    item = {"image": f"{np.random.default_rng().integers(10**9)}.png"} | ({"label": "l.png"} if label else {})
    shape = Shape(1000, 1, centre, side, angle, thickness)
    mask = np.zeros((32, 32))
    row, column = (int(32 * c) for c in centre)
    mask[row - 6 : row + 6, column - 6 : column + 6] = 1
    known = {"shape": (200, 256), "channels": 1, "values": {0: 1, 1: 1} if label else None}
    return Facts(list_key, item, item["image"], shapes={1: shape}, masks={1: mask}, **(known | values))


def findings(facts, **values):
    return Findings(Path("datalist.json"), 2, facts, **({"classes": ["organ"]} | values))


SPEEDS = {64: {"unet": 0.1, "gan": 0.3, "encoder": 0.4}, 128: {"unet": 0.4, "gan": 1.4, "encoder": 1.6}}


@pytest.mark.parametrize(
    ("hours", "thickness", "size"),
    # by time: 3600 * .88 * .28 / 1.4 = 633 steps an hour at 128 pixels; thin structures ask for more
    [(1.0, 0.3, 64), (2.0, 0.3, 128), (1.0, 0.04, 128), (0.2, 0.04, 64), (None, 0.3, 128)],
)
def test_size_by_time_and_structure(hours, thickness, size):
    plan = make_plan(
        findings([fact(thickness=thickness) for _ in range(4)]), "train", name="x", hours=hours, speeds=SPEEDS
    )
    assert plan["size"] == size
    assert (plan["channel_base"], plan["channel_max"], plan["latent_dim"]) == new_bundle.WIDTHS[size]
    assert set(plan.values) == set(plan.reasons) and all(plan.reasons.values())


def test_intensity_and_colour():
    def of(**values):
        return make_plan(findings([fact(**values) for _ in range(3)]), "train", name="x", hours=1.0, speeds=SPEEDS)

    assert of(dark=0.02)["intensity"] == "equalise"
    assert of(dark=0.5)["intensity"] == "percentiles"
    assert of(channels=3)["channels"] == 3 and of(channels=3)["intensity"] == "percentiles"
    assert of(framed_out=0.0)["frame"] is True and of(framed_out=0.1)["frame"] is False


def test_flips_only_where_labels_allow():
    def flip(facts, **values):
        return make_plan(findings(facts, **values), "train", name="x", hours=1.0, speeds=SPEEDS)["flip"]

    assert flip([fact() for _ in range(3)]) is True
    assert flip([fact(centre=(0.5, 0.3)) for _ in range(3)]) is False
    # of one binary class other values than 1 are it too
    assert flip([fact() for _ in range(3)], classes=["left eye", "nose"]) is False
    both = [fact(centre=(0.5, 0.25)) for _ in range(3)]
    for one in both:
        one.masks[2] = one.masks[1][:, ::-1]
    assert flip(both, classes=["left lung", "right lung"]) == [[1, 2]]
    assert flip(both, classes=["class_1", "class_2"]) == [[1, 2]]
    assert symmetry([fact()]) is None


def test_spread_of_labels_gives_the_ranges():
    facts = [fact(side=side) for side in (0.2, 0.3, 0.45)]
    plan = make_plan(findings(facts), "train", name="x", hours=1.0, speeds=SPEEDS)
    sides = np.log([0.2, 0.3, 0.45])
    assert plan["scale"] == pytest.approx(min(0.5, np.exp(2 * sides.std()) - 1), abs=0.01)
    assert plan["shift"] == 0.08
    # directions of axes: 89 and -89 degrees are 2 apart
    assert axial_spread(np.array([89.0, -89.0])) == pytest.approx(1.0, abs=0.01)
    assert axial_spread(np.array([10.0, 20.0])) == pytest.approx(5.0, abs=0.05)


def test_a_bundle_of_each_kind_is_ready(tmp_path):
    for name, shape, colour, classes in (
        ("grey", (48, 60), False, 1),
        ("colour", (48, 60), True, 3),
        ("volume", (40, 44, 6), False, 2),
    ):
        path = organ(tmp_path / name, shape=shape, colour=colour, classes=classes)
        made = make(path, tmp_path / f"{name}_bundle", plan=plan_file(tmp_path))
        bundle = made.bundle
        assert not recipes.differing(bundle)
        assert len(bundle.classes) == classes and bundle.spatial_dims == len(shape)
        network = bundle.parser().get_parsed_content("network_def")
        assert network.generator.image_channels == (3 if colour else 1)
        assert network.generator.label_channels == (1 if classes == 1 else classes + 1)
        readme = (bundle.root / "docs" / "README.md").read_text()
        assert "FILL IN" in readme and all(word not in readme.lower() for word in ("lung", "liver", "dermoscop"))
        text = json.dumps(bundle.metadata).lower()
        assert all(word not in text for word in ("lung", "liver", "lesion", "x-ray"))
        assert bundle.metadata["network_data_format"]["outputs"]["pred"]["num_channels"] == max(
            1, classes + (classes > 1)
        )
        lists = json.loads((bundle.root / "datalist.json").read_text())
        assert {key: len(items) for key, items in lists.items()} == {"train": 4, "unlabeled": 4, "val": 2, "test": 2}
        assert Path(lists["train"][0]["image"]).is_absolute()
        for file in bundle.root.glob("configs/*.yaml"):
            assert isinstance(yaml.safe_load(file.read_text()), dict)


def test_an_edited_plan_is_taken_and_the_reason_says_so(tmp_path):
    path = organ(tmp_path / "data")
    make(path, tmp_path / "b", plan=plan_file(tmp_path))
    plan = yaml.safe_load((tmp_path / "b" / "plan.yaml").read_text())
    plan |= {"flip": not plan["flip"], "classes": {"spleen": [1, 2, 3]}}
    (tmp_path / "edited.yaml").write_text(yaml.safe_dump(plan))
    bundle = make(path, tmp_path / "b", plan=tmp_path / "edited.yaml").bundle
    assert bundle.classes == {"spleen": (1, 2, 3)}
    assert bundle.read("settings.yaml")["unet"]["jitter"]["flip"] == plan["flip"]
    assert "as the plan says" in (tmp_path / "b" / "plan.yaml").read_text()
    with pytest.raises(ValueError, match="the plan has hue"):
        make(path, tmp_path / "b", plan=plan_file(tmp_path, hue=3))


def test_without_a_list_to_validate_on_some_labels_are_held_out(tmp_path):
    path = organ(tmp_path / "data", lists={"train": 6, "unlabeled": 2})
    made = make(path, tmp_path / "b", plan=plan_file(tmp_path))
    lists = json.loads((made.bundle.root / "datalist.json").read_text())
    assert len(lists["train"]) == 4 and len(lists["val"]) == 2
    assert not {i["image"] for i in lists["train"]} & {i["image"] for i in lists["val"]}
    assert any("held out" in line for line in made.told)


def refusal(capsys, *words) -> str:
    assert main(["new", *map(str, words)]) == 1
    return capsys.readouterr().err


def test_what_cannot_work_is_refused_by_name(tmp_path, capsys):
    target = tmp_path / "b"
    plan = ["--plan", plan_file(tmp_path)]
    path = organ(tmp_path / "lists")
    content = json.loads(path.read_text())
    assert "there are train (4 images, 4 labels)" in refusal(capsys, path, target, "--train-list", "trains", *plan)
    assert "never learned from" in refusal(capsys, path, target, "--train-list", "val", *plan)
    path.write_text(json.dumps(content | {"train_2": content["train"][:2]}))
    assert "one of train (4 images, 4 labels), train_2 (2" in refusal(capsys, path, target, *plan)
    path.write_text(json.dumps({"val": content["val"]}))
    assert "no labelled images to learn from, there are val (2" in refusal(capsys, path, target, *plan)
    path.write_text(json.dumps(content))
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "lists" / "train_2_label.png")
    error = refusal(capsys, path, target, *plan)
    assert "train_2.png: label does not fit" in error and "Traceback" not in error
    one = organ(tmp_path / "one", lists={"train": 1, "val": 1})
    assert "one image only" in refusal(capsys, one, target, *plan)
    content = json.loads(organ(tmp_path / "patients").read_text())
    content["train"][0]["patient"] = content["test"][0]["patient"] = "p"
    (tmp_path / "patients" / "datalist.json").write_text(json.dumps(content))
    assert "patient p is in" in refusal(capsys, tmp_path / "patients" / "datalist.json", target, *plan)
    assert not target.exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    good = organ(tmp_path / "good")
    assert "not empty" in refusal(capsys, good, tmp_path / "full", *plan)


def test_a_begun_training_of_other_networks_is_kept(tmp_path):
    path = organ(tmp_path / "data")
    bundle = make(path, tmp_path / "b", plan=plan_file(tmp_path)).bundle
    (bundle.root / "runs").mkdir()
    make(path, tmp_path / "b", plan=plan_file(tmp_path))
    with pytest.raises(ValueError, match="holds a training with size 32"):
        make(path, tmp_path / "b", plan=plan_file(tmp_path, size=64))


def test_labels_are_read_of_the_chosen_list_alone(tmp_path):
    path = organ(tmp_path, lists={"train_4": 4, "train_6": 6, "val": 2})
    found = check(path, train_list="train_4")
    lists, _ = new_bundle.lists_of(found)
    assert len(lists["train"]) == 4 and len(lists["unlabeled"]) == 6
    assert not any("label" in item for item in lists["unlabeled"])


def test_speed_is_measured(tmp_path):
    path = organ(tmp_path / "data")
    bundle = make(path, tmp_path / "b", plan=plan_file(tmp_path)).bundle
    lists = json.loads((bundle.root / "datalist.json").read_text())
    speeds = new_bundle.measure_speeds(bundle.root, [32], {k: lists[k][:2] for k in ("train", "unlabeled")}, steps=1)
    assert set(speeds[32]) == {"unet", "gan", "encoder"} and all(value > 0 for value in speeds[32].values())
    assert Bundle(bundle.root).lacking()
