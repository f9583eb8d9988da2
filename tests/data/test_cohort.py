# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_semgan.data import CohortDataset, cohort
from monai_semgan.data.cohort import ending, unique_names
from monai_semgan.formats import read, stem
from tests.image_files import gradient, write_dicom, write_png
from tests.volume_files import BACK, HEAD, LEFT, affine_of, values, write_series, write_volume

AFFINE = affine_of(LEFT, BACK, HEAD)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def test_folder_is_searched_whatever_the_case(tmp_path: Path) -> None:
    touch(
        *(tmp_path / name for name in ("B.PNG", "sub/deep/c.Nii.GZ", "a.jpeg", "notes.txt", ".hidden.png", "DICOMDIR"))
    )
    touch(tmp_path / ".cache" / "d.png", tmp_path / "out" / "masks" / "a_mask.png")
    write_dicom(tmp_path / "sub" / "1.2.840.10008", gradient())
    items = cohort(tmp_path, exclude=[tmp_path / "out" / "masks"])
    assert [item["file"] for item in items] == ["B.PNG", "a.jpeg", "sub/1.2.840.10008", "sub/deep/c.Nii.GZ"]
    assert [item["name"] for item in items] == ["B", "a", "sub/1.2.840.10008", "sub/deep/c"]
    assert [Path(item["image"]) for item in items] == [tmp_path / item["file"] for item in items]


def test_one_file_is_taken_whatever_it_is(tmp_path: Path) -> None:
    touch(tmp_path / "scan.xyz")
    assert cohort(tmp_path / "scan.xyz") == [
        {"image": str(tmp_path / "scan.xyz"), "file": "scan.xyz", "name": "scan.xyz"}
    ]


def test_folders_without_images(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match="no images in .*: looked for .png"):
        cohort(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing does not exist"):
        cohort(tmp_path / "missing")
    assert cohort(None) == []


def test_datalist(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    pairs = [{"image": "images/a.png", "label": "labels/a.png", "patient": "p1"}, {"image": "images/b.png"}]
    datalist = tmp_path / "datalist.json"
    datalist.write_text(json.dumps({"test": pairs, "pairs": pairs[:1]}))
    item = cohort(None, datalist=datalist, list_key="pairs", labels=True)[0]
    assert item == {
        "image": str(tmp_path / "images/a.png"),
        "label": str(tmp_path / "labels/a.png"),
        "patient": "p1",
        "file": "images/a.png",
        "name": "images/a",
    }
    assert len(cohort(tmp_path, datalist=datalist)) == 2
    with pytest.raises(ValueError, match="1 of 2 items of list 'test' have no label, as .*b.png"):
        cohort(None, datalist=datalist, labels=True)
    with pytest.raises(ValueError, match="cannot be used: Data list val not specified, there are test, pairs"):
        cohort(None, datalist=datalist, list_key="val")
    with pytest.raises(ValueError, match="no datalist given"):
        cohort(tmp_path, labels=True)
    with pytest.raises(FileNotFoundError, match="datalist .* does not exist"):
        cohort(None, datalist=tmp_path / "none.json")
    datalist.write_text("{")
    with pytest.raises(ValueError, match="cannot be used"):
        cohort(None, datalist=datalist)


def names_of(files: list[Path]) -> list[str]:
    names = [(file.parent / stem(file)).as_posix() for file in files]
    return unique_names(names, [ending(file, name) for file, name in zip(files, names)])


def test_equal_stems_get_their_suffix() -> None:
    files = [Path(name) for name in ("a.dcm", "a.png", "a_png.jpg", "b.nii.gz", "sub/a.png", "A.PNG")]
    assert names_of(files) == ["a_dcm", "a_png_2", "a_png", "b", "sub/a", "A_png_3"]


stems = st.text(alphabet="aA._1", min_size=1, max_size=4).filter(lambda s: s.strip("."))


@given(st.lists(st.tuples(stems, st.sampled_from([".png", ".PNG", ".nii.gz", ".dcm", ""])), unique=True))
def test_names_are_unique_and_start_with_the_stem(parts: list[tuple[str, str]]) -> None:
    files = [Path(stem + suffix) for stem, suffix in parts]
    names = names_of(files)
    assert len({name.lower() for name in names}) == len(files)
    for (start, _), name in zip(parts, names, strict=True):
        assert name.startswith(start)
    assert np.all([names_of(files) == names])


@pytest.mark.parametrize(
    "suffix", ["png", "jpg", "jpeg", "tif", "TIFF", "bmp", "webp", "nii", "nii.gz", "dcm", "dicom"]
)
def test_suffixes(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path / f"a.b.{suffix}")
    assert [item["name"] for item in cohort(tmp_path)] == ["a.b"]


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

    items = cohort(tmp_path, exclude=[tmp_path / "masks"], spatial_dims=3)
    assert [(item["file"], item["name"]) for item in items] == [
        ("a.nii.gz", "a_nii_gz"),
        ("a.nrrd", "a_nrrd"),
        ("b/c.mhd", "b/c"),
        ("p1/IMG", "p1/IMG"),
        ("p2/0.dcm", "p2/3_T1_in_opp"),
        ("p2/bad.dcm", "p2/bad"),
        ("p2/x0", "p2/4_T2_SPIR"),
    ]
    shapes = [read(item["image"], 3).shape for item in items if "bad" not in item["name"]]
    assert shapes == [(1, 12, 10, 6)] * 6
    with pytest.raises(ValueError, match="bad.dcm is damaged"):
        read(items[5]["image"], 3)


def test_folder_of_one_series_is_named_after_itself(tmp_path: Path) -> None:
    write_series(tmp_path / "patient 7", values(), AFFINE)
    folder = tmp_path / "patient 7"
    assert cohort(folder, spatial_dims=3) == [{"image": str(folder), "file": ".", "name": "patient 7"}]


def test_one_volume(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "case.1.nrrd", values(), AFFINE)
    assert cohort(path, spatial_dims=3) == [{"image": str(path), "file": "case.1.nrrd", "name": "case.1"}]


def test_datalist_of_volumes_names_folders_and_files(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom" / "p1", values(), AFFINE)
    write_volume(tmp_path / "label.nii.gz", values(), AFFINE)
    datalist = tmp_path / "list.json"
    datalist.write_text(json.dumps({"test": [{"image": "dicom/p1", "label": "label.nii.gz", "patient": 1}]}))
    (item,) = cohort(None, datalist=datalist, labels=True, spatial_dims=3)
    assert item["image"] == str(tmp_path / "dicom" / "p1") and item["name"] == "dicom/p1" and item["patient"] == 1


def test_no_volumes(tmp_path: Path) -> None:
    assert cohort(None, spatial_dims=3) == []
    with pytest.raises(FileNotFoundError, match=r"no volumes in .*: looked for .*\.nii, .* and DICOM series"):
        cohort(tmp_path, spatial_dims=3)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        cohort(tmp_path / "nowhere", spatial_dims=3)
    with pytest.raises(ValueError, match="labels are needed"):
        cohort(tmp_path, labels=True, spatial_dims=3)


def test_numbers_do_not_collide() -> None:
    assert unique_names(["a", "A", "a_2", "a"], [""] * 4) == ["a", "A_3", "a_2", "a_4"]


def test_series_of_one_name_are_numbered_and_files_beside_a_folder_get_their_suffix(tmp_path: Path) -> None:
    for letter in "xy":
        names = [f"{letter}{k}" for k in range(6)]
        write_series(tmp_path / "p", values(), AFFINE, names, SeriesNumber=3, SeriesDescription="T1")
    write_series(tmp_path / "q", values(), AFFINE)
    write_volume(tmp_path / "q.nii", values(), AFFINE)
    items = cohort(tmp_path, spatial_dims=3)
    assert [(item["file"], item["name"]) for item in items] == [
        ("p/x0", "p/3_T1"),
        ("p/y0", "p/3_T1_2"),
        ("q", "q"),
        ("q.nii", "q_nii"),
    ]


def test_files_left_alone_are_told_for_volumes_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_volume(tmp_path / "a.nii.gz", values(), AFFINE)
    touch(tmp_path / "b.img", tmp_path / "b.hdr")
    with caplog.at_level("INFO"):
        assert len(cohort(tmp_path, spatial_dims=3)) == 1
    assert "2 files are not volumes and are left alone, such as b.hdr" in caplog.text


def test_folder_may_be_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "20240101" / "a.png", tmp_path / "20240101" / "7" / "b.png")
    monkeypatch.chdir(tmp_path)
    folder: Any = 20240101
    assert [item["file"] for item in cohort(folder, exclude=["20240101/7"])] == ["a.png"]


def test_equal_names_of_two_folders_stay_apart_and_resume(tmp_path: Path) -> None:
    for folder in ("b", "c"):
        (tmp_path / "elsewhere" / folder).mkdir(parents=True)
        write_png(tmp_path / "elsewhere" / folder / "a.png", gradient().astype(np.uint8))
    root = tmp_path / "elsewhere"
    items = cohort(root)
    assert [(item["file"], item["name"]) for item in items] == [("b/a.png", "b/a"), ("c/a.png", "c/a")]
    # named by a list in a folder that they do not lie in
    (tmp_path / "lists").mkdir()
    datalist = tmp_path / "lists" / "list.json"
    touch(tmp_path / "lists" / "a.png", root / "d.png")
    images = [str(root / "b" / "a.png"), str(root / "c" / "a.png"), "a.png", str(root / "d.png")]
    datalist.write_text(json.dumps({"test": [{"image": image} for image in images]}))
    items = cohort(None, datalist=datalist)
    assert [item["file"] for item in items] == [*images[:2], "a.png", "d.png"]
    assert len({item["name"] for item in items}) == 4 and items[3]["name"] == "d"
    left = CohortDataset(items, finished={items[0]["file"]})
    assert [item["image"] for item in left.data] == [item["image"] for item in items[1:]]
