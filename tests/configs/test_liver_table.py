# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from configs import liver_table
from monai_semgan.apps import label_budget
from monai_semgan.bundle import Bundle
from tests.tiny_bundle import tiny_bundle
from tests.volume_files import BACK, HEAD, LEFT, affine_of, ellipsoid, write_volume

SHAPE = (28, 24, 5)
LISTS = ("test", "msd_test", "btcv_test", "test_hu", "ood_test")


@pytest.fixture
def experiment(tmp_path: Path, repository: Path) -> Path:
    """The experiment with a small network and small data of three sources."""
    bundle = tiny_bundle(tmp_path, repository, "liver_ct_mri_segmentation")
    shutil.copytree(repository / "configs", tmp_path / "configs")
    data, organ = tmp_path / "data", ellipsoid(SHAPE, 0.15, 0.6)
    (data / "volumes").mkdir(parents=True)
    affine = affine_of(LEFT, BACK, HEAD, spacing=(1.2, 1.2, 5.0))
    random = np.random.default_rng(0)
    image = np.where(organ, 120, -50) + random.normal(0, 10, SHAPE)
    write_volume(data / "volumes" / "image.nii.gz", image.astype(np.int16), affine)
    write_volume(data / "volumes" / "label.nii.gz", organ.astype(np.uint8), affine)
    organs = np.where(organ, 6, 0)
    organs[:3] = 4
    write_volume(data / "volumes" / "organs.nii.gz", organs.astype(np.uint8), affine)
    one = {"image": "volumes/image.nii.gz", "label": "volumes/label.nii.gz", "intensity_scale": "hu"}
    many = {"image": "volumes/image.nii.gz", "label": "volumes/organs.nii.gz"}
    mri = one | {"modality": "mri"}
    lists = {"train_2": [one], "train_8": [one] * 2, "unlabeled": [one], "test": [one], "test_hu": [one]}
    (data / "datalist.json").write_text(json.dumps(lists | {"ood_test": [mri], "about": "text"}))
    (data / "msd.json").write_text(json.dumps({"test": [one]}))
    (data / "btcv.json").write_text(json.dumps({"test": [many]}))
    path = tmp_path / "configs" / "liver_table.yaml"
    config = yaml.safe_load(path.read_text()) | {"bundle": str(bundle), "dataset_dir": str(data)}
    config |= {"output_dir": str(tmp_path / "output"), "unet": {"max_epochs": 1, "steps_per_epoch": 1}}
    path.write_text(yaml.safe_dump(config))
    return path


def test_lists_of_all_sources_are_one_datalist_with_binary_labels(experiment: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(experiment.read_text())
    datalist = liver_table.gather(config["sources"], tmp_path / "data", tmp_path / "output")
    lists = json.loads(datalist.read_text())
    assert {*LISTS, "train_2", "train_8", "unlabeled"} == set(lists)
    (item,) = lists["btcv_test"]
    assert item["intensity_scale"] == "hu" and Path(item["image"]).is_file()
    label = nib.load(item["label"])
    assert np.array_equal(np.asarray(label.dataobj), ellipsoid(SHAPE, 0.15, 0.6) & (np.arange(28) >= 3)[:, None, None])
    np.testing.assert_allclose(label.affine, nib.load(item["image"]).affine)
    assert lists["msd_test"][0]["label"] == str((tmp_path / "data/volumes/label.nii.gz").resolve())
    assert lists["ood_test"][0]["modality"] == "mri"


def test_every_method_is_evaluated_on_every_list_with_2_and_8_labels(experiment: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(experiment.read_text())
    liver_table.gather(config["sources"], tmp_path / "data", tmp_path / "output")
    stages = label_budget.plan(label_budget.load_config(Bundle(config["bundle"]), str(experiment)))
    rows = [stage.row for stage in stages if stage.row]
    assert {row["list"] for row in rows} == set(LISTS) and len(rows) == 2 * 5 * len(LISTS)
    assert {row["labels"] for row in rows} == {1, 2}


def test_the_first_stages_run_and_the_table_is_told(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = label_budget.plan
    monkeypatch.setattr(label_budget, "plan", lambda config: [whole(config)[0], whole(config)[3]])
    assert liver_table.main(["--config", str(experiment)]) == 0
    told = (tmp_path / "output" / "table.md").read_text()
    assert "`btcv_test` (n = 1) Dice" in told and "| U-Net |" in told


def test_mistakes_end_without_a_traceback(experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert liver_table.main(["--config", "none.yaml"]) == 1
    assert "none.yaml does not exist" in capsys.readouterr().err
    assert liver_table.main(["--config", str(experiment), "--root", str(tmp_path)]) == 1
    assert "give --root" in capsys.readouterr().err
    sources = yaml.safe_load(experiment.read_text())["sources"]
    with pytest.raises(ValueError, match="two lists are called"):
        liver_table.gather([sources[0], sources[0]], tmp_path / "data", tmp_path / "output")
