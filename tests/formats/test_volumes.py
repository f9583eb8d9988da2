# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from monai.transforms import LoadImage

from monai_semgan.formats import FormatReader
from tests.volume_files import BACK, FRONT, HEAD, LEFT, affine_of, affines, values, write_series, write_volume

AFFINE = affine_of(LEFT, HEAD, FRONT)


def read(path: Path) -> tuple[np.ndarray, dict]:
    reader = FormatReader(3)
    array, meta = reader.get_data(reader.read(path))
    assert len(array) == 1 and array.dtype in (torch.uint8, torch.int16, torch.float32)
    return array[0].numpy(), meta


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh", ".NII.GZ"])
def test_volumes_come_as_stored_with_a_ras_affine(tmp_path: Path, suffix: str) -> None:
    array, meta = read(write_volume(tmp_path / f"a.b{suffix.lower()}", values(), AFFINE))
    np.testing.assert_array_equal(array, values())
    for key in ("affine", "original_affine", "file_affine"):
        np.testing.assert_allclose(meta[key], AFFINE, atol=1e-5)
    assert meta["file_shape"] == tuple(meta["spatial_shape"]) == (12, 10, 6)
    assert meta["spacing_unit"] == "mm" and meta["space"] == "RAS"


@given(affines())
def test_itk_and_nifti_agree_on_oblique_affines(tmp_path_factory: pytest.TempPathFactory, affine: np.ndarray) -> None:
    file = write_volume(tmp_path_factory.mktemp("itk") / "a.mha", values((3, 4, 2)), affine)
    np.testing.assert_allclose(read(file)[1]["original_affine"], affine, atol=1e-6)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_one_time_point_is_a_volume(tmp_path: Path, suffix: str) -> None:
    array, meta = read(write_volume(tmp_path / f"a{suffix}", values()[..., None], AFFINE))
    np.testing.assert_array_equal(array, values())
    assert meta["file_shape"] == (12, 10, 6, 1) and tuple(meta["spatial_shape"]) == (12, 10, 6)
    np.testing.assert_allclose(meta["affine"], AFFINE, atol=1e-5)


def test_load_image_keeps_the_header(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "a.nii.gz", values(), AFFINE)
    image = LoadImage(reader=FormatReader(3), ensure_channel_first=True)(path)
    assert image.shape == (1, 12, 10, 6)
    assert bytes.fromhex(image.meta["nifti_header"]) == nib.load(path).header.binaryblock


def test_dicom_folder_and_any_of_its_files_are_the_same_volume(tmp_path: Path) -> None:
    files = write_series(tmp_path, values(), affine_of(LEFT, HEAD, FRONT))
    array, meta = read(tmp_path)
    np.testing.assert_array_equal(array, values())
    np.testing.assert_allclose(meta["affine"], AFFINE, atol=1e-4)
    assert meta["file_format"] == "dicom_series" and "nifti_header" not in meta
    np.testing.assert_array_equal(read(files[2])[0], array)
    assert FormatReader(3).verify_suffix(tmp_path) and FormatReader(3).verify_suffix([files[0]])


def test_unknown_orientation_warns(tmp_path: Path) -> None:
    image = nib.Nifti1Image(values(), None)
    image.header["pixdim"][1:4] = 2
    nib.save(image, tmp_path / "a.nii")
    (told,) = read(tmp_path / "a.nii")[1]["warnings"]
    assert told.startswith("it does not say how it lies in the patient")


def rgb(path: Path) -> Path:
    voxels = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return path


def flat(path: Path) -> Path:
    image = nib.Nifti1Image(values(), np.eye(4))
    image.header["srow_y"] = 0
    image.header["sform_code"] = 1
    nib.save(nib.Nifti1Image(values(), None, image.header), path)
    return path


def truncated(path: Path, end: int) -> Path:
    path.write_bytes(path.read_bytes()[:-end])
    return path


def without_data(path: Path) -> Path:
    (data,) = path.parent.glob("*.raw*")
    data.unlink()
    return path


def with_value(value: float) -> np.ndarray:
    array = values().astype(np.float32)
    array[1, 2, 3] = value
    return array


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda f: (f / "a.nii").write_bytes(b"") and None or f / "a.nii", r"a\.nii is an empty file \(0 bytes\)"),
        (lambda f: (f / "a.txt").write_text("text") and f / "a.txt", r"a\.txt is neither DICOM nor one of \..*\.nii, "),
        (lambda f: (f / "a.mgz").write_text("text") and f / "a.mgz", r"a\.mgz is damaged or not a MGH file"),
        (lambda f: without_data(write_volume(f / "a.nhdr", values(), AFFINE)), r"a\.nhdr is damaged or lacks"),
        (lambda f: (f / "a.nrrd").write_text("text") and f / "a.nrrd", r"a\.nrrd is damaged"),
        (lambda f: truncated(write_volume(f / "a.nii", values(), AFFINE), 100), r"a\.nii is damaged"),
        (lambda f: truncated(write_volume(f / "a.nii.gz", values(), AFFINE), 100), r"a\.nii\.gz is damaged"),
        (lambda f: truncated(write_volume(f / "a.nrrd", values(), AFFINE), 500), r"a\.nrrd is damaged"),
        (lambda f: truncated(write_volume(f / "a.mha", values(), AFFINE), 500), r"a\.mha is damaged"),
        (lambda f: write_volume(f / "a.mhd", values(), AFFINE).with_suffix(".raw").unlink() or f / "a.mhd", "damaged"),
        (lambda f: write_volume(f / "a.nii", np.zeros((0, 4, 5)), np.eye(4)), r"a\.nii is empty \(shape \(1, 0, 4"),
        (
            lambda f: write_volume(f / "a.nii", with_value(np.nan), AFFINE),
            r"a\.nii has 1 of 720 values that are NaN or infinite: ",
        ),
        (
            lambda f: write_volume(f / "a.mha", with_value(np.inf), AFFINE),
            r"a\.mha has 1 of 720 values that are NaN or infinite: ",
        ),
        (
            lambda f: write_volume(f / "a.nii", values((4, 3, 2, 5)), AFFINE),
            r"\(4, 3, 2, 5\), 5 volumes \(time points\)",
        ),
        (lambda f: write_volume(f / "a.nii", 1j * values(), AFFINE), "colours or complex values"),
        (lambda f: rgb(f / "a.nii"), "colours or complex values"),
        (lambda f: flat(f / "a.nii"), "broken affine"),
    ],
)
def test_unreadable_files_say_what_is_wrong(tmp_path: Path, make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoadImage(reader=FormatReader(3))(make(tmp_path))


def test_missing_and_several_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        read(tmp_path / "a.nii")
    for name in "ab":
        write_volume(tmp_path / f"{name}.nii", values(), AFFINE)
    with pytest.raises(ValueError, match="2 files given for one image"):
        LoadImage(reader=FormatReader(3))([tmp_path / "a.nii", tmp_path / "b.nii"])


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_headers_without_a_size_of_voxels(tmp_path: Path, suffix: str) -> None:
    path = write_volume(tmp_path / f"a{suffix}", values(), affine_of(LEFT, BACK, HEAD))
    assert read(path)[1]["spacing_unit"] == "mm"
    head, _, data = path.read_bytes().partition(b"\n\n" if suffix == ".nrrd" else b"LOCAL\n")
    gone = (b"space", b"kinds", b"ElementSp", b"ElementSi", b"Transform", b"Offset", b"CenterOf")
    kept = b"\n".join(line for line in head.split(b"\n") if not line.startswith(gone))
    path.write_bytes(kept + (b"\n\n" if suffix == ".nrrd" else b"LOCAL\n") + data)
    meta = read(path)[1]
    assert meta["spacing_unit"] == "pixel" and meta["warnings"] == [
        "the size of its voxels is unknown (its header has none)"
    ]
