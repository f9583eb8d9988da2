# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from configs import liver_datalist
from monai_semgan import formats
from monai_semgan.data import cohort
from tests.volume_files import BACK, HEAD, LEFT, affine_of, ellipsoid, write_series, write_volume

AFFINE = affine_of(LEFT, BACK, HEAD)
SHAPE = (8, 7, 5)
LABEL = ellipsoid(SHAPE, 0.2, 0.6).astype(np.uint8)
# a tumour
LABEL[4, 4, 3] = 2


def write_pair(image: Path, label: Path | None) -> None:
    for path, array in ((image, LABEL.astype(np.int16) * 100 - 50), (label, LABEL)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_volume(path, array, AFFINE)


def make_msd(folder: Path, number: int = 14) -> Path:
    pairs = [{"image": f"./imagesTr/liver_{n}.nii.gz", "label": f"./labelsTr/liver_{n}.nii.gz"} for n in range(number)]
    for pair in pairs:
        write_pair(folder / pair["image"], folder / pair["label"])
    write_pair(folder / "imagesTs" / "liver_141.nii.gz", None)
    # what some archives are extracted to
    (folder / "imagesTr" / "._liver_0.nii.gz").touch()
    described = {"labels": {"0": "background", "1": "liver", "2": "cancer"}, "training": pairs}
    (folder / "dataset.json").write_text(json.dumps(described | {"test": ["./imagesTs/liver_141.nii.gz"]}))
    return folder


def make_lits(folder: Path) -> Path:
    for n in range(5):
        batch = folder / f"Training Batch {1 + n % 2}"
        write_pair(batch / f"volume-{n}.nii", batch / f"segmentation-{n}.nii")
    write_pair(folder / "test-volume-0.nii", None)
    return folder


def make_chaos(folder: Path) -> dict[str, np.ndarray]:
    """Write a CT series whose file names run from head to feet, and an MRI series; give their labels."""
    liver = LABEL > 0
    # a UID for each file
    tags = {"SeriesInstanceUID": lambda index: generate_uid(), "Rows": SHAPE[1], "Columns": SHAPE[0]}
    ct, mr = folder / "Train_Sets" / "CT" / "1", folder / "Train_Sets" / "MR" / "19" / "T2SPIR"
    down = SHAPE[2] - 1 - np.arange(SHAPE[2])
    names = [f"i{k:04d},0000b.dcm" for k in down]
    write_series(ct / "DICOM_anon", LABEL * 10 + 1, AFFINE, names=names, RescaleIntercept=-1024, RescaleSlope=1, **tags)
    names = [f"IMG-0002-{k:05d}.dcm" for k in (3, 1, 5, 2, 4)]
    write_series(mr / "DICOM_anon", LABEL * 10 + 1, AFFINE, names=names, **tags)
    (ct / "Ground").mkdir()
    (mr / "Ground").mkdir()
    organs = np.where(liver, 63, 0)
    # a kidney
    organs[0, 0] = 126
    for k in range(SHAPE[2]):
        Image.fromarray(liver[..., k].T).save(ct / "Ground" / f"liver_GT_{down[k]:03d}.png")
        Image.fromarray(organs[..., k].T.astype(np.uint8)).save(mr / "Ground" / f"{Path(names[k]).stem}.png")
    # a sequence that is not taken, and a patient without masks
    (mr.parent / "T1DUAL" / "DICOM_anon").mkdir(parents=True)
    (folder / "Test_Sets" / "CT" / "2" / "DICOM_anon").mkdir(parents=True)
    return {"test_hu": liver, "ood_test": liver}


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    volume = formats.read(path, 3, label=True)
    return volume[0].numpy(), volume.meta["original_affine"]


def test_msd_and_chaos(tmp_path: Path) -> None:
    labels = make_chaos(tmp_path / "chaos")
    output = tmp_path / "liver" / "datalist.json"
    command = ["--msd", str(make_msd(tmp_path / "msd")), "--chaos", str(tmp_path / "chaos"), "--output", str(output)]
    assert liver_datalist.main(command) == 0
    lists = json.loads(output.read_text())
    assert {name: len(items) for name, items in lists.items()} == {
        **{"test": 3, "val": 1, "train_2": 2, "train_4": 4, "train_8": 8, "train_10": 10},
        **{"unlabeled": 11, "test_hu": 1, "ood_test": 1},
    }
    patients = {name: {item["patient"] for item in items} for name, items in lists.items()}
    assert (
        patients["train_2"] < patients["train_4"] < patients["train_8"] < patients["train_10"] < patients["unlabeled"]
    )
    assert not patients["unlabeled"] & (patients["test"] | patients["val"]) and not patients["test"] & patients["val"]
    assert not any("label" in item for item in lists["unlabeled"])
    for name in lists:
        # the paths are found, and every name is a patient's
        for item in cohort(None, datalist=output, list_key=name, labels=name != "unlabeled"):
            assert Path(item["image"]).is_file() and Path(item["name"]).name == item["patient"]
    for item in cohort(None, datalist=output, list_key="train_10"):
        label, affine = read(Path(item["label"]))
        np.testing.assert_array_equal(label, LABEL > 0)
        np.testing.assert_allclose(affine, AFFINE, atol=1e-5)
    for name, intercept in (("test_hu", -1024), ("ood_test", 0)):
        (item,) = cohort(None, datalist=output, list_key=name)
        assert item["modality"] == {"test_hu": "ct", "ood_test": "mri"}[name]
        (image, affine), (label, label_affine) = read(Path(item["image"])), read(Path(item["label"]))
        np.testing.assert_array_equal(image, LABEL * 10.0 + 1 + intercept)
        np.testing.assert_array_equal(label, labels[name])
        np.testing.assert_allclose(affine, AFFINE, atol=1e-4)
        np.testing.assert_allclose(label_affine, affine)


def test_lits(tmp_path: Path) -> None:
    assert liver_datalist.main(["--lits", str(make_lits(tmp_path)), "--output", str(tmp_path / "datalist.json")]) == 0
    lists = json.loads((tmp_path / "datalist.json").read_text())
    assert {name: len(items) for name, items in lists.items()} == {
        **{"test": 1, "val": 1, "train_2": 2, "train_3": 3, "unlabeled": 4}
    }
    (item,) = lists["test"]
    assert (tmp_path / item["image"]).is_file() and item["label"] == f"labels/{item['patient']}.nii.gz"
    assert set(np.unique(np.asarray(nib.load(tmp_path / item["label"]).dataobj))) == {0, 1}


def test_mistakes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_chaos(tmp_path / "chaos")
    next((tmp_path / "chaos").rglob("liver_GT_002.png")).unlink()
    msd, output = str(make_msd(tmp_path / "msd", 4)), str(tmp_path / "datalist.json")
    for options, message in (
        (["--msd", str(tmp_path)], "dataset.json"),
        (["--lits", str(tmp_path / "chaos")], "0 CT volumes with labels found, 4 are needed"),
        (["--msd", msd, "--chaos", msd], "holds no CT/*/DICOM_anon"),
        (["--msd", msd, "--chaos", str(tmp_path / "chaos")], "5 DICOM files and 4 masks"),
        (["--output", output], "one of the arguments --msd --lits is required"),
    ):
        with pytest.raises(SystemExit) as stop:
            liver_datalist.main([*options, "--output", output])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
