# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monai.transforms import LoadImage

from monai_semgan.data.volume_cohort import numbered, volume_cohort
from monai_semgan.data.volume_reader import VolumeReader
from tests.image_files import gradient, write_dicom, write_png
from tests.volume_files import BACK, HEAD, LEFT, affine_of, values, write_series, write_volume

AFFINE = affine_of(LEFT, BACK, HEAD)


def test_files_and_series_of_a_tree(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", values(), AFFINE)
    write_volume(tmp_path / "a.nrrd", values(), AFFINE)
    for folder in ("b", "masks"):
        (tmp_path / folder).mkdir()
    write_volume(tmp_path / "b" / "c.mhd", values(), AFFINE)
    write_series(tmp_path / "p1" / "IMG", values(), AFFINE)
    names = [f"{k}.dcm" for k in range(6)]
    write_series(tmp_path / "p2", values(), AFFINE, names, SeriesNumber=3, SeriesDescription="T1 in/opp")
    names = [f"x{k}" for k in range(6)]
    write_series(tmp_path / "p2", values(), AFFINE, names, SeriesNumber=4, SeriesDescription="T2 SPIR")
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesInstanceUID": "1.2.3"}
    write_dicom(tmp_path / "p2" / "scout.dcm", gradient(), **scout)
    (tmp_path / "p2" / "bad.dcm").write_text("text")
    (tmp_path / "p2" / "DICOMDIR").write_text("text")
    write_png(tmp_path / "page.png", gradient().astype("uint8"))
    write_volume(tmp_path / ".hidden.nii", values(), AFFINE)
    write_volume(tmp_path / "masks" / "a_mask.nii.gz", values(), AFFINE)

    items = volume_cohort(tmp_path, exclude=[tmp_path / "masks"])
    assert [(item["file"], item["name"]) for item in items] == [
        ("a.nii.gz", "a"),
        ("a.nrrd", "a_2"),
        ("b/c.mhd", "b/c"),
        ("p1/IMG", "p1/IMG"),
        ("p2/0.dcm", "p2/3_T1_in_opp"),
        ("p2/bad.dcm", "p2/bad"),
        ("p2/x0", "p2/4_T2_SPIR"),
    ]
    load = LoadImage(reader=VolumeReader())
    shapes = [load(item["image"]).shape for item in items if "bad" not in item["name"]]
    assert shapes == [(12, 10, 6)] * 6
    with pytest.raises(ValueError, match="bad.dcm is damaged"):
        load(items[5]["image"])


def test_folder_of_one_series_is_named_after_itself(tmp_path: Path) -> None:
    write_series(tmp_path / "patient 7", values(), AFFINE)
    folder = tmp_path / "patient 7"
    assert volume_cohort(folder) == [{"image": str(folder), "file": ".", "name": "patient 7"}]


def test_one_file(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "case.1.nrrd", values(), AFFINE)
    assert volume_cohort(path) == [{"image": str(path), "file": "case.1.nrrd", "name": "case.1"}]


def test_datalist_names_folders_and_files(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom" / "p1", values(), AFFINE)
    write_volume(tmp_path / "label.nii.gz", values(), AFFINE)
    datalist = tmp_path / "list.json"
    datalist.write_text(json.dumps({"test": [{"image": "dicom/p1", "label": "label.nii.gz", "patient": 1}]}))
    (item,) = volume_cohort(None, datalist=datalist, labels=True)
    assert item["image"] == str(tmp_path / "dicom" / "p1") and item["name"] == "dicom/p1" and item["patient"] == 1


def test_nothing_to_do(tmp_path: Path) -> None:
    assert volume_cohort(None) == []
    with pytest.raises(FileNotFoundError, match=r"no volumes in .*: looked for \.nii, .* and DICOM series"):
        volume_cohort(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        volume_cohort(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="labels are needed"):
        volume_cohort(tmp_path, labels=True)


def test_numbers_do_not_collide() -> None:
    assert numbered(["a", "A", "a_2", "a"]) == ["a", "A_2", "a_2_2", "a_3"]
