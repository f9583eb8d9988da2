# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_semgan.apps.check_data import Facts, check, class_names, describe_label, described_names, part_of, write
from monai_semgan.cli import main
from tests.organ import organ


def edit(path: Path, **lists: list) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | lists))


def test_a_good_datalist_has_no_error_and_known_numbers(tmp_path):
    path = organ(tmp_path, classes=3)
    findings = check(path)
    assert findings.ready and not findings.problems()
    assert findings.classes == ["class_1", "class_2", "class_3"]
    assert findings.spatial_dims == 2
    fact = findings.facts[0]
    label = np.asarray(Image.open(tmp_path / "train_0_label.png"))
    assert fact.shape == (48, 60) and fact.channels == 1
    assert fact.values == {v: int((label == v).sum()) for v in range(4)}
    rows, columns = np.nonzero(label == 2)
    assert fact.shapes[2].centre == pytest.approx(((rows.mean() + 0.5) / 48, (columns.mean() + 0.5) / 60))
    assert fact.shapes[2].side == pytest.approx(np.sqrt(len(rows) / label.size))
    page = write(findings, tmp_path / "out").read_text()
    assert "Training can go on" in page and page.count("<figure") == 12
    assert "http" not in page.replace("http-equiv", "")


def test_one_bad_file_never_hides_the_others(tmp_path):
    path = organ(tmp_path)
    (tmp_path / "train_0.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(tmp_path / "train_1_label.png")
    Image.fromarray(np.arange(48 * 60, dtype=np.uint8).reshape(48, 60)).save(tmp_path / "train_2_label.png")
    Image.fromarray(np.zeros((48, 60), np.uint8)).save(tmp_path / "val_0_label.png")
    (tmp_path / "test_1_label.png").unlink()
    findings = check(path)
    errors = {fact.file: fact.errors for fact in findings.facts if fact.errors}
    assert set(errors) == {"train_0.png", "train_1.png", "train_2.png", "test_1.png"}
    assert "cannot be read" in errors["train_0.png"][0]
    assert "(10, 10)" in errors["train_1.png"][0] and "does not fit" in errors["train_1.png"][0]
    assert "0 and one other are expected" in errors["train_2.png"][0]
    assert "missing" in errors["test_1.png"][0]
    assert [f.file for f in findings.facts if "label has no foreground" in f.warnings] == ["val_0.png"]
    write(findings, tmp_path / "out")
    with (tmp_path / "out" / "check.csv").open() as file:
        told = {row["file"] for row in csv.DictReader(file) if row["errors"]}
    assert told == set(errors)


def test_not_finite_values_are_told(tmp_path):
    path = organ(tmp_path, shape=(20, 22, 4))
    import nibabel as nib

    image = np.random.default_rng(0).normal(size=(20, 22, 4)).astype(np.float32)
    image[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / "train_0.nii.gz")
    findings = check(path)
    assert findings.spatial_dims == 3
    assert "NaN" in findings.facts[0].errors[0]


def test_what_lists_may_not_share(tmp_path):
    path = organ(tmp_path)
    content = json.loads(path.read_text())
    Image.fromarray(np.asarray(Image.open(tmp_path / "train_0.png"))).save(tmp_path / "copy.png")
    near = np.asarray(Image.open(tmp_path / "train_1.png")).astype(int)
    near[5, 5] += 1
    Image.fromarray(near.clip(0, 255).astype(np.uint8)).save(tmp_path / "near.png")
    content["test"] += [{"image": "copy.png", "label": "train_0_label.png"}]
    content["test"] += [{"image": "near.png", "label": "train_1_label.png"}]
    content["train"][2]["patient"] = content["val"][0]["patient"] = "p7"
    path.write_text(json.dumps(content))
    findings = check(path)
    assert any("patient p7" in text for text in findings.errors)
    by_file = {fact.file: fact for fact in findings.facts}
    assert "same image as test: copy.png" in by_file["train_0.png"].errors[0]
    assert "nearly the same as test: near.png" in by_file["train_1.png"].warnings[0]
    assert not by_file["train_3.png"].warnings


def test_values_outside_the_classes_and_classes_that_are_missing(tmp_path):
    path = organ(tmp_path, classes=3)
    label = np.asarray(Image.open(tmp_path / "train_1_label.png")).copy()
    label[0, 0] = 9
    Image.fromarray(label).save(tmp_path / "train_1_label.png")
    findings = check(path)
    assert [fact.file for fact in findings.facts if fact.errors] == ["train_1.png"]
    assert "label holds 9, the classes are 1 to 3" in findings.facts[1].errors[0]
    edit(path, classes=["background", "a", "b", "c", "d"])
    assert any("4 (d)" in text for text in check(path).errors)


def test_no_foreground_one_image_and_mixed_colours(tmp_path):
    path = organ(tmp_path / "one", lists={"train": 1, "val": 1})
    assert any("one image only" in text for text in check(path).errors)
    path = organ(tmp_path / "empty")
    for file in (tmp_path / "empty").glob("*_label.png"):
        Image.fromarray(np.zeros((48, 60), np.uint8)).save(file)
    assert any("no label has any foreground" in text for text in check(path).errors)
    path = organ(tmp_path / "mixed")
    grey = np.asarray(Image.open(tmp_path / "mixed" / "train_0.png"))
    Image.fromarray(np.stack([grey, grey // 2, grey], -1)).save(tmp_path / "mixed" / "train_0.png")
    findings = check(path)
    assert findings.ready and any("1 in colour" in text and "train_0.png" in text for text in findings.warnings)


def test_nested_lists_of_the_training_are_read_once(tmp_path):
    path = organ(tmp_path)
    content = json.loads(path.read_text())
    content["train_2"] = content["train"][:2]
    path.write_text(json.dumps(content))
    findings = check(path, train_list="train_2")
    train = [fact for fact in findings.facts if fact.part == "train"]
    assert len(train) == 8 and sum(fact.labelled for fact in train) == 2


@pytest.mark.parametrize(
    ("name", "part"), [("val", "val"), ("ood_test", "test"), ("train_9", "train"), ("nih", "train")]
)
def test_part_of_a_list(name, part):
    assert part_of(name) == part


def test_names_of_classes():
    assert class_names(["background", "a", "b"]) == ["a", "b"]
    assert class_names({"0": "background", "2": "b", "1": "a"}) == ["a", "b"]
    assert class_names({"a": 1, "b": 2, "background": 0}) == ["a", "b"]
    assert class_names(None) == []


def test_names_that_a_description_numbers():
    text = "0 background, 1 right lung, 2 left lung, 3 heart; lungs over heart, 247 images"
    assert described_names(text, 3) == ["right lung", "left lung", "heart"]
    assert described_names(text, 4) == [] and described_names("two organs", 2) == []


def test_shape_of_a_disk():
    rows, columns = np.mgrid[:100, :100]
    mask = ((rows - 40) ** 2 + (columns - 60) ** 2 <= 20**2).astype(int)
    fact = Facts("train", {}, "disk", values={0: 1, 1: 1})
    describe_label(fact, np.ones((1, 100, 100)), mask, 2)
    shape = fact.shapes[1]
    assert shape.pieces == 1 and np.isnan(shape.angle)
    assert shape.centre == pytest.approx((0.405, 0.605))
    assert shape.thickness == pytest.approx(0.4, abs=0.02)
    assert shape.side == pytest.approx(np.sqrt(np.pi) * 0.2, rel=0.01)


def test_command(tmp_path, capsys):
    path = organ(tmp_path)
    assert main(["check", str(path), "--output", str(tmp_path / "out")]) == 0
    assert "training can go on" in capsys.readouterr().out
    (tmp_path / "val_0.png").unlink()
    assert main(["check", str(path), "--output", str(tmp_path / "out")]) == 1
    out = capsys.readouterr()
    assert "error: val: val_0.png" in out.out
    assert main(["check", str(path), "--lists", "nothing", "--output", str(tmp_path / "out")]) == 1
    assert "there are train (4 images, 4 labels)" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "none.json")]) == 1
