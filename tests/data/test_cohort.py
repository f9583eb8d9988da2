# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.transforms import LoadImage
from PIL import Image

from monai_semgan.data import FAILURE, SKIPPED, CohortDataset, cohort, failure_reason
from monai_semgan.data.cohort import ending, state_of, unique_names
from monai_semgan.formats import FormatReader, read, stem
from tests.image_files import gradient, write_dicom, write_png
from tests.volume_files import BACK, HEAD, LEFT, affine_of, edit_dicom, values, write_series, write_volume

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
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesInstanceUID": "1.2.3", "Modality": "CT"}
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
    touch(tmp_path / "b.vol", tmp_path / "b.img")
    with caplog.at_level("INFO"):
        assert len(cohort(tmp_path, spatial_dims=3)) == 1
    assert "2 files are not volumes and are left alone, such as b.img" in caplog.text


def test_content_counts_more_than_names(tmp_path: Path) -> None:
    png = write_png(tmp_path / "a.png", gradient().astype(np.uint8))
    for name in ("IM0001", "1.2.840.7", "b.dcm", "c.jfif", "d.jpe"):
        (tmp_path / name).write_bytes(png.read_bytes())
    Image.fromarray(gradient().astype(np.uint8)).save(tmp_path / "IM0002", "TIFF")
    Image.fromarray(gradient().astype(np.uint8)).save(tmp_path / "IM0003", "BMP")
    # raw files of cameras begin like TIFF
    (tmp_path / "camera.nef").write_bytes((tmp_path / "IM0002").read_bytes())
    for name in ("e.png", "f.ima", "g.dicom"):
        write_dicom(tmp_path / name, gradient())
    items = cohort(tmp_path)
    names = [
        "1.2.840.7",
        "IM0001",
        "IM0002",
        "IM0003",
        "a.png",
        "b.dcm",
        "c.jfif",
        "d.jpe",
        "e.png",
        "f.ima",
        "g.dicom",
    ]
    assert [item["file"] for item in items] == names
    for item in items:
        np.testing.assert_array_equal(read(item["image"], 2)[0].T, gradient())


def test_what_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_png(tmp_path / "a.png", gradient().astype(np.uint8))
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere" / "gone.png")
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refused(path: Any) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    # permissions do not bind root, as whom tests may run
    monkeypatch.setattr(os, "scandir", refused)
    items = cohort(tmp_path)
    assert [item["file"] for item in items] == ["a.png", "gone.png", "locked"]
    failures = [item[FAILURE] for item in CohortDataset(items)[1:]]
    assert failures[0] == f"gone.png is a link to {tmp_path / 'nowhere' / 'gone.png'}, which is missing"
    assert failures[1].startswith("folder locked cannot be searched (Permission denied)")


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in" / "deep").mkdir(parents=True)
    write_png(tmp_path / "elsewhere" / "x.png", gradient().astype(np.uint8))
    write_png(tmp_path / "in" / "deep" / "y.png", gradient().astype(np.uint8))
    for name, target in (("a", "elsewhere"), ("b", "elsewhere"), ("c", "in/deep"), ("d", "in")):
        (tmp_path / "in" / name).symlink_to(tmp_path / target)
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "elsewhere")
    assert [item["file"] for item in cohort(tmp_path / "in")] == ["a/x.png", "deep/y.png"]


def test_names_that_are_no_utf_8_are_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"thorax_\xf6.png")
    write_png(tmp_path / name, gradient().astype(np.uint8))
    (item,) = cohort(tmp_path)
    assert item["file"] == "thorax_\xf6.png" and item["name"] == "thorax_\xf6"
    assert read(item["image"], 2).shape == (1, 30, 40)
    # beside the same name in UTF-8
    write_png(tmp_path / "thorax_\xf6.png", gradient().astype(np.uint8))
    items = cohort(tmp_path)
    assert len({item["file"] for item in items}) == len({item["name"] for item in items}) == 2
    for item in items:
        f"{item['file']}{item['name']}".encode()
    assert failure_reason(ValueError(name)) == "thorax_\xf6.png"


def test_long_names_leave_room_for_what_is_appended(tmp_path: Path) -> None:
    long = "\u00e4" * 110
    for letter in "ab":
        write_png(tmp_path / f"{long}{letter}.png", gradient().astype(np.uint8))
    first, second = (item["name"] for item in cohort(tmp_path))
    # the same up to where they are cut
    assert first == "\u00e4" * 100 + "_png" and second == f"{first}_2"


def test_results_of_other_runs_are_no_images(tmp_path: Path) -> None:
    write_png(tmp_path / "x.png", gradient().astype(np.uint8))
    for folder in ("masks", "overlays", "more"):
        (tmp_path / "results" / folder).mkdir(parents=True)
        write_png(tmp_path / "results" / folder / "x.png", gradient().astype(np.uint8))
    assert len(cohort(tmp_path)) == 4
    (tmp_path / "results" / "report.csv").write_text("file,status,message,mask,overlay,reconstruction_error\n")
    assert [item["file"] for item in cohort(tmp_path)] == ["results/more/x.png", "x.png"]
    # of another program
    (tmp_path / "results" / "report.csv").write_text("name,status\n")
    assert len(cohort(tmp_path)) == 4


def test_objects_that_are_no_image_are_passed_over_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_dicom(tmp_path / "IM1.dcm", gradient())
    edit_dicom(write_dicom(tmp_path / "SR1", gradient(), Modality="SR"), PixelData=None, Rows=None, Columns=None)
    write_dicom(tmp_path / "PR1.dcm", gradient(), Modality="PR")
    with caplog.at_level("INFO"):
        assert [item["file"] for item in cohort(tmp_path)] == ["IM1.dcm"]
    assert "SR1 is no image (SR): passed over" in caplog.text
    items = cohort(tmp_path, skipped=True)
    assert [(item["file"], item.get(SKIPPED, False)) for item in items] == [
        ("IM1.dcm", False),
        ("PR1.dcm", True),
        ("SR1", True),
    ]
    assert items[1][FAILURE] == "PR1.dcm is no image (PR): passed over"
    (tmp_path / "IM1.dcm").unlink()
    with pytest.raises(FileNotFoundError, match=r"no images in .*; PR1\.dcm is no image \(PR\)"):
        cohort(tmp_path, skipped=True)


def test_other_series_of_a_study_are_passed_over(tmp_path: Path) -> None:
    write_series(tmp_path, values(), AFFINE, [f"ct{k}" for k in range(6)])
    write_series(tmp_path, values(), AFFINE, [f"pt{k}" for k in range(6)], Modality="PT")
    write_dicom(tmp_path / "dose.dcm", gradient(), Modality="RTDOSE", NumberOfFrames=1)
    items = cohort(tmp_path, spatial_dims=3, skipped=True)
    assert [(item["file"], item.get(FAILURE)) for item in items] == [
        (".", None),
        ("dose.dcm", "dose.dcm is no slice of a volume (Modality is RTDOSE): passed over"),
        ("pt0", "pt0 is no slice of a volume (Modality is PT, 6 files): passed over"),
    ]
    assert read(items[0]["image"], 3).shape == (1, 12, 10, 6)


def test_phases_of_one_series_are_volumes_and_folders_of_one_series_are_not(tmp_path: Path) -> None:
    uid = pydicom.uid.generate_uid()
    between = AFFINE.copy()
    between[2, 3] += 2
    for number, (name, affine) in enumerate((("venous", AFFINE), ("arterial", between)), 1):
        tags = {"SeriesInstanceUID": uid, "AcquisitionNumber": number}
        write_series(tmp_path / "p1", values() + 100 * number, affine, [f"{name}{k}" for k in range(6)], **tags)
    write_series(tmp_path / "p2", values(), AFFINE, [f"{'AB'[k % 2]}_{k}.dcm" for k in range(6)])
    for letter in "AB":
        (tmp_path / "p2" / letter).mkdir()
        for file in (tmp_path / "p2").glob(f"{letter}_*"):
            file.rename(tmp_path / "p2" / letter / file.name)
    items = cohort(tmp_path, spatial_dims=3)
    names = ["p1/series_AcquisitionNumber_2", "p1/series_AcquisitionNumber_1", "p2/series"]
    assert [item["name"] for item in items] == names
    for item, expected in zip(items, (values() + 200, values() + 100, values())):
        image = LoadImage(reader=FormatReader(3), ensure_channel_first=True)(item["image"])
        np.testing.assert_array_equal(image[0], expected)
        if "p1" in item["name"]:
            (told,) = image.meta["warnings"]
            assert told == f"its series holds several volumes, this is that of {item['name'][-19:].replace('_', ' ')}"
    assert image.meta["warnings"] == ["its files lie in 2 folders, A and B: read as one series"]
    assert len(image.meta["files"]) == 6


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
    # an image of the same name that is another is done, one whose state nobody noted is not
    states = {items[0]["file"]: state_of(items[0]), items[1]["file"]: state_of(items[0]), items[2]["file"]: None}
    assert [item["file"] for item in CohortDataset(items, finished=states).data] == [items[k]["file"] for k in (1, 3)]
    write_png(Path(images[0]), gradient(50).astype(np.uint8))
    assert len(CohortDataset(items, finished=states)) == 3
