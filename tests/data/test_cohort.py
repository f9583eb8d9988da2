# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_semgan.data import cohort
from monai_semgan.data.cohort import unique_names
from tests.image_files import gradient, write_dicom


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
    with pytest.raises(ValueError, match="cannot be used: Data list val not specified"):
        cohort(None, datalist=datalist, list_key="val")
    with pytest.raises(ValueError, match="no datalist given"):
        cohort(tmp_path, labels=True)
    with pytest.raises(FileNotFoundError, match="datalist .* does not exist"):
        cohort(None, datalist=tmp_path / "none.json")
    datalist.write_text("{")
    with pytest.raises(ValueError, match="cannot be used"):
        cohort(None, datalist=datalist)


def test_equal_stems_get_their_suffix() -> None:
    files = [Path(name) for name in ("a.dcm", "a.png", "a_png.jpg", "b.nii.gz", "sub/a.png", "A.PNG")]
    assert unique_names(files) == ["a_dcm", "a_png_2", "a_png", "b", "sub/a", "A_png_3"]


stems = st.text(alphabet="aA._1", min_size=1, max_size=4).filter(lambda s: s.strip("."))


@given(st.lists(st.tuples(stems, st.sampled_from([".png", ".PNG", ".nii.gz", ".dcm", ""])), unique=True))
def test_names_are_unique_and_start_with_the_stem(parts: list[tuple[str, str]]) -> None:
    files = [Path(stem + suffix) for stem, suffix in parts]
    names = unique_names(files)
    assert len({name.lower() for name in names}) == len(files)
    for (stem, _), name in zip(parts, names, strict=True):
        assert name.startswith(stem)
    assert np.all([unique_names(files) == names])


@pytest.mark.parametrize(
    "suffix", ["png", "jpg", "jpeg", "tif", "TIFF", "bmp", "webp", "nii", "nii.gz", "dcm", "dicom"]
)
def test_suffixes(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path / f"a.b.{suffix}")
    assert [item["name"] for item in cohort(tmp_path)] == ["a.b"]
