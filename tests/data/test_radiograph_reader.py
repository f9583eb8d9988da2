# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from monai.transforms import LoadImage
from PIL import Image

from monai_semgan.data import RadiographReader
from tests.image_files import gradient, oblique_affine, write_dicom, write_nifti, write_png


def read(path: Path) -> tuple[np.ndarray, dict]:
    reader = RadiographReader()
    return reader.get_data(reader.read(path))


@pytest.mark.parametrize("dtype, top", [(np.uint8, 255), (np.uint16, 60000)])
def test_png_is_indexed_column_first(tmp_path: Path, dtype: type, top: int) -> None:
    image = gradient(top=top).astype(dtype)
    array, meta = read(write_png(tmp_path / "a.png", image))
    np.testing.assert_array_equal(array, image.T)
    assert meta["spacing_unit"] == "pixel"
    assert tuple(meta["spatial_shape"]) == (30, 40)
    np.testing.assert_array_equal(meta["affine"], np.eye(4))


def test_palette_is_resolved_and_transparency_dropped(tmp_path: Path) -> None:
    image = gradient().astype(np.uint8)
    palette = Image.fromarray(image).convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    palette.save(tmp_path / "palette.png")
    array, _ = read(tmp_path / "palette.png")
    np.testing.assert_array_equal(array, np.stack([image.T] * 3, axis=-1))
    Image.merge("LA", [Image.fromarray(image), Image.fromarray(255 - image)]).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read(tmp_path / "alpha.png")[0], image.T)


def test_jpeg_of_colour_has_channels_last(tmp_path: Path) -> None:
    Image.fromarray(gradient().astype(np.uint8)).convert("RGB").save(tmp_path / "a.JPG")
    array, meta = read(tmp_path / "a.JPG")
    assert array.shape == (30, 40, 3)
    assert meta["original_channel_dim"] == -1


def test_dicom_is_rescaled_inverted_and_placed(tmp_path: Path) -> None:
    image = gradient(top=4000)
    path = write_dicom(
        tmp_path / "a",
        image,
        "MONOCHROME1",
        RescaleSlope=2,
        RescaleIntercept=-100,
        PixelSpacing=[0.8, 0.5],
        ImagerPixelSpacing=[0.9, 0.6],
        ImagePositionPatient=[1, 2, 3],
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
    )
    array, meta = read(path)
    rescaled = 2 * image.T - 100
    np.testing.assert_allclose(array, rescaled.max() + rescaled.min() - rescaled)
    # one column on is 0.5 mm to the left (RAS -x), one row on is 0.8 mm to the feet
    np.testing.assert_allclose(meta["affine"] @ [1, 0, 0, 0], [-0.5, 0, 0, 0])
    np.testing.assert_allclose(meta["affine"] @ [0, 1, 0, 0], [0, 0, -0.8, 0])
    np.testing.assert_allclose(meta["affine"][:3, 3], [-1, -2, 3])
    assert meta["spacing_unit"] == "mm"


@pytest.mark.parametrize(
    "tags, spacing, unit",
    [
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.1, 0.2), "mm"),
        ({}, (1, 1), "pixel"),
        ({"PixelSpacing": None}, (1, 1), "pixel"),
    ],
)
def test_dicom_spacing_falls_back(tmp_path: Path, tags: dict, spacing: tuple, unit: str) -> None:
    _, meta = read(write_dicom(tmp_path / "a.dcm", gradient(), **tags))
    np.testing.assert_allclose(np.linalg.norm(meta["affine"][:3, :2], axis=0), spacing)
    assert meta["spacing_unit"] == unit


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 1), (30, 40, 1, 1), (30, 1, 40)])
def test_nifti_with_one_slice(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = gradient().T.astype(np.float32)
    affine = oblique_affine()
    array, meta = read(write_nifti(tmp_path / "a.nii.gz", values.reshape(shape), affine))
    np.testing.assert_array_equal(array, values)
    second = 2 if shape == (30, 1, 40) else 1
    np.testing.assert_allclose(
        meta["affine"] @ [3, 5, 0, 1], affine @ np.eye(4)[[0, second, 3]].T @ [3, 5, 1], atol=1e-5
    )
    assert meta["file_shape"] == shape
    np.testing.assert_allclose(meta["file_affine"], affine, atol=1e-6)


def compressed(path: Path) -> Path:
    dataset = pydicom.dcmread(write_dicom(path, gradient()))
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51 not a codestream "])
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda f: (f / "a.png").write_bytes(b"") and None or f / "a.png", r"a\.png is an empty file \(0 bytes\)"),
        (lambda f: (f / "a.png").write_text("text") and f / "a.png", r"a\.png is damaged or not a PNG"),
        (lambda f: (f / "a.nii.gz").write_text("text") and f / "a.nii.gz", r"a\.nii\.gz is damaged or not a NIfTI"),
        (lambda f: (f / "a.dcm").write_text("text") and f / "a.dcm", r"a\.dcm is damaged or not a DICOM"),
        (lambda f: (f / "a.txt").write_text("text") and f / "a.txt", r"a\.txt is neither DICOM nor one of \.png"),
        (lambda f: write_nifti(f / "a.nii", np.ones((4, 5, 6)), np.eye(4)), r"of shape \(4, 5, 6\), not one 2-D image"),
        (lambda f: write_dicom(f / "a.dcm", gradient(), NumberOfFrames=2), "holds 2 frames"),
        (lambda f: write_dicom(f / "a.dcm", gradient(), "PALETTE COLOR"), "colours of the kind PALETTE COLOR"),
        (lambda f: write_dicom(f / "a.dcm", gradient(), PixelData=b"12"), r"pixels of a\.dcm are damaged"),
        (lambda f: compressed(f / "a.dcm"), r"pixels of a\.dcm are damaged"),
    ],
)
def test_unreadable_files_say_what_is_wrong(tmp_path: Path, make, message: str) -> None:
    path = make(tmp_path)
    with pytest.raises(ValueError, match=message):
        LoadImage(reader=RadiographReader())(path)


def test_truncated_png(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", gradient().astype(np.uint8))
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ValueError, match="damaged"):
        read(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        read(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="a folder, not a file"):
        read(tmp_path)
    with pytest.raises(ValueError, match="2 files given for one image"):
        RadiographReader().read(["a.png", "b.png"])


def test_missing_decoder_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compressed(tmp_path / "a.dcm")

    def pixel_array(dataset: pydicom.Dataset) -> np.ndarray:
        raise RuntimeError("Unable to decompress pixel data because all plugins are missing dependencies")

    monkeypatch.setattr(pydicom.FileDataset, "pixel_array", property(pixel_array))
    with pytest.raises(
        ValueError, match="JPEG 2000.* no decoder is installed: pip install pylibjpeg pylibjpeg-openjpeg"
    ):
        read(path)
