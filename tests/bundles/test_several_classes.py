# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Bundles of three classes, which differ from those of one in their classes alone: from labels to masks."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.utils import set_determinism
from PIL import Image

from monai_semgan.bundle import Bundle
from monai_semgan.cli import main
from monai_semgan.predictor import Predictor
from tests.bundle_runs import read_mask, rows
from tests.tiny_bundle import CLASSES, LISTS, classes_data, several_classes, tiny_bundle

WORDS = [name.replace(" ", "_") for name in CLASSES]
KINDS = {"planar": "lung_xray_segmentation", "volumetric": "liver_ct_mri_segmentation"}


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A folder with a tiny bundle of three classes, data/ and runs/ of all stages; the kind is the folder's name."""
    folder = tmp_path_factory.mktemp("several") / request.param
    bundle = several_classes(tiny_bundle(folder, repository, KINDS[request.param]))
    datalist = classes_data(folder / "data", volumes=request.param == "volumetric")
    # teachers that learned for two steps agree on nothing
    short = {"max_epochs": 1, "steps_per_epoch": 2, "agreement": 0.0, "val_interval": 1}
    settings = [word for name, value in short.items() for word in ("--set", f"{name}={value}")]
    words = ["train", bundle, "--datalist", datalist, "--output", folder / "runs", "--workers", 1, "--device", "cpu"]
    try:
        assert main([*map(str, words), *settings]) in (None, 0)
    finally:
        set_determinism(seed=None)
    return folder


def test_all_stages_are_trained(trained: Path) -> None:
    assert {path.parent.name for path in (trained / "runs").glob("*/losses.csv")} == {
        "unet",
        "gan",
        "encoder",
        "student",
    }
    network = Predictor.from_bundle(trained / "bundles" / "tiny", ckpt_path=trained / "runs/student/model.pt").network
    assert network.generator.label_channels == len(CLASSES) + 1


@pytest.mark.parametrize("answer", ["student", "both"])
def test_masks_scores_and_measurements_are_of_each_class(trained: Path, tmp_path: Path, answer: str) -> None:
    weights = trained / "runs" / "student" / "model.pt"
    words = ["evaluate", trained / "data" / "datalist.json", tmp_path, "--bundle", trained / "bundles" / "tiny"]
    assert main([*map(str, words), "--weights", str(weights), "--answer", answer, "--device", "cpu"]) in (None, 0)
    report = rows(tmp_path / "report.csv")
    items = json.loads((trained / "data" / "datalist.json").read_text())["test"]
    assert len(report) == LISTS["test"] and all(row["status"] == "ok" for row in report.values())
    kind = "volume_ml" if trained.name == "volumetric" else "area_cm2"
    for item in items:
        row = report[item["image"]]
        mask, label = read_mask(tmp_path / row["mask"]), read_mask(trained / "data" / item["label"])
        assert mask.shape == label.shape and set(np.unique(mask)) <= set(range(len(CLASSES) + 1))
        dice = []
        for index, word in enumerate(WORDS, 1):
            a, b = mask == index, label == index
            dice.append(2 * (a & b).sum() / (a.sum() + b.sum()))
            assert float(row[f"dice_{word}"]) == pytest.approx(dice[-1], abs=1e-6)
            assert f"{word}_{kind}" in row
            counted = row[f"{word}_{kind.split('_')[0]}_{'voxels' if kind == 'volume_ml' else 'pixels'}"]
            assert int(counted) == a.sum()
        assert float(row["dice"]) == pytest.approx(np.mean(dice), abs=1e-6)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert {"dice", *(f"dice_{word}" for word in WORDS)} <= set(summary)
    assert all(name in (tmp_path / "report.html").read_text() for name in CLASSES)


def test_a_label_that_is_no_label_map_is_named(trained: Path, tmp_path: Path) -> None:
    item = json.loads((trained / "data" / "datalist.json").read_text())["test"][0]
    image = trained / "data" / item["image"]
    label = read_mask(trained / "data" / item["label"])
    path = tmp_path / f"label{''.join(image.suffixes)}"
    if trained.name == "planar":
        Image.fromarray(label * np.uint8(85)).save(path)
    else:
        nib.save(nib.Nifti1Image(label * np.uint8(85), nib.load(image).affine), path)
    datalist = tmp_path / "datalist.json"
    datalist.write_text(json.dumps({"test": [{"image": str(image), "label": str(path)}]}))
    words = ["evaluate", datalist, tmp_path / "out", "--bundle", trained / "bundles" / "tiny"]
    with pytest.raises(SystemExit):
        main([*map(str, words), "--weights", str(trained / "runs" / "student" / "model.pt"), "--device", "cpu"])
    (row,) = rows(tmp_path / "out" / "report.csv").values()
    assert "label holds 85, 170, 255, which is none of its classes (0 background, 1 right lung" in row["message"]


def test_classes_are_those_of_the_bundle(trained: Path) -> None:
    assert list(Bundle(trained / "bundles" / "tiny").classes) == list(CLASSES)
