# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from monai.data.utils import orientation_ras_lps

from monai_semgan.formats import DICOMSeries
from tests.image_files import write_dicom
from tests.volume_files import (
    BACK,
    FEET,
    HEAD,
    LEFT,
    affine_of,
    affines,
    edit_dicom,
    ellipsoid,
    values,
    write_enhanced,
    write_series,
)


def read_series(path: Path) -> tuple[np.ndarray, dict]:
    image = DICOMSeries().read(path)
    return image.numpy()[0], image.meta


# columns to the left, rows to the back: slices from feet to head
AFFINE = affine_of(LEFT, BACK, HEAD)


def test_slices_are_rescaled_each_on_its_own(tmp_path: Path) -> None:
    slopes = {"RescaleSlope": lambda k: k + 1, "RescaleIntercept": lambda k: -1024 - k}
    write_series(tmp_path, values(), AFFINE, **slopes)
    expected = values() * np.arange(1, 7) - 1024 - np.arange(6)
    np.testing.assert_array_equal(read_series(tmp_path)[0], expected)


@settings(max_examples=10)
@given(affines())
def test_slices_are_sorted_by_position(tmp_path_factory: pytest.TempPathFactory, affine: np.ndarray) -> None:
    lps = orientation_ras_lps(affine)
    if np.linalg.det(lps[:3, :3]) < 0:
        affine = affine * [1, 1, -1, 1]
    folder = tmp_path_factory.mktemp("series")
    write_series(folder, values((4, 3, 5)), affine)
    array, meta = read_series(folder)
    np.testing.assert_array_equal(array, values((4, 3, 5)))
    np.testing.assert_allclose(meta["original_affine"], affine, atol=1e-4)


def test_slices_stored_from_the_head_come_from_the_feet(tmp_path: Path) -> None:
    write_series(tmp_path, values(), affine_of(LEFT, BACK, FEET))
    array, meta = read_series(tmp_path)
    np.testing.assert_array_equal(array, values()[..., ::-1])
    # the last index lies where the first slice of the stored order was
    np.testing.assert_allclose(meta["original_affine"] @ [0, 0, 5, 1], [12, -7, 31, 1])


def test_the_place_of_a_missing_slice_stays_empty(tmp_path: Path) -> None:
    files = write_series(tmp_path, values() + 7, AFFINE, SeriesDescription="portal venous", Modality="MR")
    files[2].unlink()
    array, meta = read_series(tmp_path)
    present = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(array[..., present], values()[..., present] + 7)
    # the least of the others, and outside
    assert (array[..., 2] == 7).all()
    outside = meta["outside"].values
    assert outside[..., 2].all() and not outside[..., present].any()
    # slices lie 4 mm apart from 31 mm on
    (told,) = meta["warnings"]
    assert told.startswith("1 uneven gaps between slices: 8 mm between 35 and 43 mm; the others are of 4 mm. 1 slices")
    np.testing.assert_allclose(meta["original_affine"], AFFINE, atol=1e-4)


@pytest.mark.parametrize("places", [[0, 4, 8, 12, 24, 36, 48], [0, 4, 8, 9, 13, 17], [0, 4, 8, 24, 28]])
def test_gaps_that_no_even_grid_fits_are_refused(tmp_path: Path, places: list[int]) -> None:
    position = lambda k: [0, 0, places[k]]  # noqa: E731
    write_series(tmp_path, values((4, 3, len(places))), AFFINE, ImagePositionPatient=position)
    with pytest.raises(ValueError, match="uneven gaps between slices: .* one grid does not fit them"):
        read_series(tmp_path)


def test_rounded_positions_are_even(tmp_path: Path) -> None:
    # 0.625 mm in tenths
    position = lambda k: [0, 0, round(0.625 * k, 1)]  # noqa: E731
    write_series(tmp_path, values((4, 3, 9)), AFFINE, ImagePositionPatient=position)
    array, meta = read_series(tmp_path)
    np.testing.assert_array_equal(array, values((4, 3, 9)))
    np.testing.assert_allclose(meta["original_affine"][2, 2], 0.625)
    assert meta["warnings"][0].endswith("Slices lie up to 0.05 mm from where the mask has them")


def test_tilted_gantry_keeps_its_shear(tmp_path: Path) -> None:
    write_series(tmp_path, values(), AFFINE, ImagePositionPatient=lambda k: [0, k, 4 * k])
    meta = read_series(tmp_path)[1]
    np.testing.assert_allclose(meta["original_affine"][:3, 2], [0, -1, 4])
    # the angle whose tangent is 1/4
    (told,) = meta["warnings"]
    assert told.startswith("its slices are tilted by 14.0 degrees")


def test_a_slice_beside_the_others_is_refused_and_a_little_beside_told(tmp_path: Path) -> None:
    # 1.5 mm pixels along x, 0.7 along y
    for by, folder in ((1.0, tmp_path / "told"), (15.0, tmp_path / "refused")):
        position = lambda k, by=by: [by * (k == 5), 0, 4 * k]  # noqa: E731
        write_series(folder, values(), AFFINE, ImagePositionPatient=position)
    array, meta = read_series(tmp_path / "told")
    # the last slice does not bend the line of the others
    np.testing.assert_allclose(meta["original_affine"][:3, 2], [0, 0, 4], atol=1e-6)
    assert meta["warnings"] == ["1 slices lie beside the line of the others, 06.dcm by 1 mm"]
    with pytest.raises(ValueError, match=r"lie beside the line of the others: 06\.dcm by 15 mm"):
        read_series(tmp_path / "refused")


@pytest.mark.parametrize("tags, thickness", [({}, 4), ({"SpacingBetweenSlices": 5}, 5), ({"SliceThickness": None}, 1)])
def test_single_slice(tmp_path: Path, tags: dict, thickness: float) -> None:
    write_series(tmp_path, values()[..., :1], AFFINE, **tags)
    array, meta = read_series(tmp_path)
    assert array.shape == (12, 10, 1)
    np.testing.assert_allclose(meta["original_affine"][:3, 2], [0, 0, thickness])


def test_copies_count_once_and_other_files_do_not_count(tmp_path: Path) -> None:
    files = write_series(tmp_path, values(), AFFINE)
    shutil.copy(files[0], tmp_path / "copy of 03.dcm")
    write_dicom(tmp_path / "scout", values((12, 10)).T, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_dicom(tmp_path / "dose report.dcm", values((12, 10)).T)
    (tmp_path / "._03.dcm").write_text("of a Mac")
    (tmp_path / "readme.txt").write_text("text")
    (tmp_path / "bad.dcm").write_text("text")
    array, meta = read_series(tmp_path)
    np.testing.assert_array_equal(array, values())
    assert meta["warnings"] == ["1 DICOM files beside it cannot be read, such as bad.dcm"]


def second(folder: Path) -> Path:
    """The file of the second slice of a new series."""
    return write_series(folder, values(), AFFINE, SeriesDescription="T2")[1]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda f: f, "holds no DICOM slices"),
        (
            lambda f: second(f) and second(f / "b").rename(f / "b.dcm") and f,
            r"2 series, give one's file: 01\.dcm of 'T2' \(6 slices\), b\.dcm of 'T2' \(1 slices\)",
        ),
        (lambda f: edit_dicom(second(f), PixelSpacing=[1, 1]), r"'T2' mixes slices: .* another PixelSpacing"),
        (
            lambda f: edit_dicom(second(f), ImageOrientationPatient=[0, 1, 0, 0, 0, 1]).parent,
            r"1 of 6 have another ImageOrientationPatient, .*0.* in 08\.dcm against .* in 0",
        ),
        (lambda f: edit_dicom(second(f), Rows=5, Columns=24), "another Rows, 5 in 08.dcm against 10 in"),
        (lambda f: edit_dicom(second(f), ImagePositionPatient=[-12, 7, 31]), r"several slices at 31 mm.*time points"),
        (
            lambda f: edit_dicom(second(f), ImagePositionPatient=None),
            r"08\.dcm is no slice of a volume \(.*ImagePositionPatient",
        ),
        (lambda f: edit_dicom(second(f), PixelSpacing=None), r"08\.dcm lacks PixelSpacing, its place is not known"),
        (lambda f: edit_dicom(second(f), NumberOfFrames=3), r"08\.dcm holds 3 frames: convert it to NIfTI"),
        (lambda f: edit_dicom(second(f), SamplesPerPixel=3), r"08\.dcm is in colour"),
        (lambda f: edit_dicom(second(f), PixelData=b"12"), r"pixels of 08\.dcm are damaged"),
        (lambda f: edit_dicom(second(f), Modality="SEG"), r"08\.dcm is no slice of a volume \(Modality is SEG"),
        (lambda f: (f / "a.dcm").write_text("text") and f / "a.dcm", r"a\.dcm is damaged or not a DICOM file"),
    ],
)
def test_what_is_no_volume_says_why(tmp_path: Path, make, message: str) -> None:
    path = make(tmp_path)
    with pytest.raises(ValueError, match=message):
        read_series(path)


def test_monochrome1_is_inverted_in_mr_and_not_in_ct(tmp_path: Path) -> None:
    tags = {"PhotometricInterpretation": "MONOCHROME1"}
    write_series(tmp_path / "mr", values(), AFFINE, Modality="MR", **tags)
    write_series(tmp_path / "ct", values(), AFFINE, RescaleSlope=1, RescaleIntercept=-1000, **tags)
    array, meta = read_series(tmp_path / "mr")
    np.testing.assert_array_equal(array, values().max() - values())
    assert meta["modality"] == "mri"
    array, meta = read_series(tmp_path / "ct")
    np.testing.assert_array_equal(array, values() - 1000.0)
    assert meta["modality"] == "ct" and meta["intensity_scale"] == "hu"


@pytest.mark.parametrize("modality, background", [("CT", -1000), ("MR", 0)])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_becomes_background(tmp_path: Path, modality: str, background: int, photometric: str) -> None:
    body = ellipsoid((12, 10, 6))
    stored = np.where(body, values(), 4095)
    rescale = {"RescaleSlope": 1, "RescaleIntercept": -1024} if modality == "CT" else {}
    tags = {"PixelPaddingValue": 4000, "PixelPaddingRangeLimit": 4095, "PhotometricInterpretation": photometric}
    write_series(tmp_path, stored, AFFINE, Modality=modality, **tags, **rescale)
    array, meta = read_series(tmp_path)
    np.testing.assert_array_equal(meta["outside"].values, ~body)
    inside = values()[body]
    expected = inside - 1024.0 if modality == "CT" else inside
    if modality == "MR" and photometric == "MONOCHROME1":
        expected = inside.max() + inside.min() - inside
    np.testing.assert_array_equal(array[body], expected)
    assert (array[~body] == (background if modality == "CT" else inside.min())).all()


def test_patient_of_a_series(tmp_path: Path) -> None:
    write_series(tmp_path, values(), AFFINE, PatientID="TEST-7")
    assert read_series(tmp_path)[1]["patient"] == "TEST-7"


def test_frames_of_enhanced_ct_are_slices(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "a.dcm", values())
    affine = np.diag([-1.5, -0.7, 4, 1])
    affine[2, 3] = 4
    for source in (path, tmp_path):
        array, meta = read_series(source)
        np.testing.assert_array_equal(array, (values() * np.arange(1, 7) - 1024)[..., ::-1])
        np.testing.assert_allclose(meta["original_affine"], affine)
        assert meta["intensity_scale"] == "hu" and "warnings" not in meta


def test_time_points_of_an_enhanced_file_are_told(tmp_path: Path) -> None:
    volume = np.concatenate([values(), values() + 1], axis=2)
    path = write_enhanced(tmp_path / "a.dcm", volume, 6, TemporalPositionIndex=lambda k: k // 6 + 1)
    for source in (path, tmp_path):
        with pytest.raises(ValueError, match="2 .*TemporalPositionIdentifier 1"):
            read_series(source)
    (found,) = DICOMSeries().gather([path], tmp_path)
    assert found.path == path


def test_stations_of_one_series_are_volumes(tmp_path: Path) -> None:
    # a second stack that begins half-way between slices of the first, numbered after it
    uid = "1.2.3"
    upper = AFFINE.copy()
    upper[2, 3] += 18
    write_series(
        tmp_path, values(), AFFINE, [f"a{k}" for k in range(6)], SeriesInstanceUID=uid, InstanceNumber=lambda k: k
    )
    write_series(
        tmp_path,
        values() + 9,
        upper,
        [f"b{k}" for k in range(6)],
        SeriesInstanceUID=uid,
        InstanceNumber=lambda k: 6 + k,
    )
    for name, expected in (("a3", values()), ("b0", values() + 9)):
        np.testing.assert_array_equal(read_series(tmp_path / name)[0], expected)
    with pytest.raises(ValueError, match="holds 2 series, .* stack 1"):
        read_series(tmp_path)


def test_acquisitions_that_follow_each_other_are_one_volume(tmp_path: Path) -> None:
    write_series(tmp_path, values(), AFFINE, AcquisitionNumber=lambda k: 1 + k // 3)
    np.testing.assert_array_equal(read_series(tmp_path)[0], values())


def test_a_single_slice_without_thickness_has_no_volume(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, values()[..., :1], AFFINE)
    assert read_series(tmp_path)[1]["spacing_unit"] == "mm"
    edit_dicom(path, SliceThickness=None)
    meta = read_series(tmp_path)[1]
    assert meta["spacing_unit"] == "pixel"
    assert meta["warnings"] == ["its only slice has no thickness: its volume is unknown"]


@pytest.mark.parametrize(
    "own, other",
    [
        ({"AcquisitionTime": "100000"}, {"AcquisitionTime": "100100"}),
        ({"ContentTime": "100000"}, {"ContentTime": "100100"}),
        ({"SeriesDescription": "arterial"}, {"SeriesDescription": "venous"}),
        ({"InstanceNumber": lambda k: 1 + k}, {"InstanceNumber": lambda k: 7 + k}),
    ],
)
@pytest.mark.parametrize("between", [0, 2])
def test_phases_within_each_other_are_volumes(tmp_path: Path, own: dict, other: dict, between: float) -> None:
    # the slices of one at, or half-way between, those of the other
    shifted = AFFINE.copy()
    shifted[2, 3] += between
    tags = {"SeriesInstanceUID": "1.2.3"}
    write_series(tmp_path, values(), AFFINE, [f"a{k}" for k in range(6)], **tags, **own)
    write_series(tmp_path, values() + 9, shifted, [f"b{k}" for k in range(6)], **tags, **other)
    for name, expected in (("a3", values()), ("b0", values() + 9)):
        array, meta = read_series(tmp_path / name)
        np.testing.assert_array_equal(array, expected)
        assert "its series holds several volumes" in meta["warnings"][0]


def test_slices_of_mr_may_be_acquired_in_any_order(tmp_path: Path) -> None:
    times = {"AcquisitionTime": lambda k: f"10{k % 2}000", "InstanceNumber": lambda k: k // 2 + 3 * (k % 2)}
    write_series(tmp_path, values(), AFFINE, Modality="MR", **times)
    np.testing.assert_array_equal(read_series(tmp_path)[0], values())


def test_times_of_a_scan_that_follow_each_other_are_one_volume(tmp_path: Path) -> None:
    # reconstructed side by side, so that the fourth slice comes before the third
    second = [0, 0, 1, 0, 1, 1]
    write_series(tmp_path, values(), AFFINE, ContentTime=lambda k: f"10000{second[k]}")
    np.testing.assert_array_equal(read_series(tmp_path)[0], values())


def test_a_slice_that_was_stored_twice_counts_once(tmp_path: Path) -> None:
    files = write_series(tmp_path, values(), AFFINE, InstanceNumber=lambda k: k + 1)
    copy = tmp_path / "copy.dcm"
    shutil.copy(files[2], copy)
    edit_dicom(copy, SOPInstanceUID="1.2.3.4")
    for path in (tmp_path, copy):
        np.testing.assert_array_equal(read_series(path)[0], values())
    edit_dicom(copy, PixelData=(values()[..., 2].T + 1).astype("<u2").tobytes())
    with pytest.raises(ValueError, match="several slices at"):
        read_series(tmp_path)


def test_one_identifier_of_two_patients_is_two_volumes(tmp_path: Path) -> None:
    for number, patient in enumerate("AB"):
        tags = {"SeriesInstanceUID": "1.2.3", "PatientID": patient}
        write_series(tmp_path, values() + number, AFFINE, [f"{patient}{k}.dcm" for k in range(6)], **tags)
    found = list(DICOMSeries().gather(sorted(tmp_path.iterdir()), tmp_path))
    for number, one in enumerate(found):
        np.testing.assert_array_equal(read_series(one.path)[0], values() + number)
    assert len(found) == 2


def test_slices_with_a_series_each_are_one_series_where_they_fit(tmp_path: Path) -> None:
    files = write_series(tmp_path, values(), AFFINE, SeriesInstanceUID=lambda k: f"1.2.{k}")
    for path in (tmp_path, files[4]):
        array, meta = read_series(path)
        np.testing.assert_array_equal(array, values())
        assert meta["warnings"] == ["its slices have a SeriesInstanceUID each: read as one series"]
    assert [found.path for found in DICOMSeries().gather(files, tmp_path)] == [tmp_path]
    edit_dicom(files[0], ImageOrientationPatient=[0, 1, 0, 0, 0, 1])
    assert len(list(DICOMSeries().gather(files, tmp_path))) == 2


@pytest.mark.parametrize(
    "tags, message",
    [
        ({"PixelSpacing": [0, 0]}, r"PixelSpacing of 08\.dcm is 0\.0\\0\.0, not two positive numbers"),
        ({"RescaleIntercept": None}, "1 of 6 have no RescaleIntercept, as 08.dcm"),
        ({"ImageOrientationPatient": None}, r"08\.dcm lacks ImageOrientationPatient"),
    ],
)
def test_a_slice_that_spoils_its_series_is_named_and_no_other_series_lost(
    tmp_path: Path, tags: dict, message: str
) -> None:
    files = write_series(tmp_path / "a", values(), AFFINE, RescaleSlope=1, RescaleIntercept=-9)
    edit_dicom(files[1], **tags)
    others = write_series(tmp_path / "b", values(), AFFINE)
    found = [one.path for one in DICOMSeries().gather(files + others, tmp_path)]
    assert found == [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(ValueError, match=message):
        read_series(found[0])
