# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from monai_semgan.formats import DICOM
from tests.image_files import colours, gradient, linear_profile, srgb_of_light, write_colour_dicom, write_dicom


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
    image_read = DICOM().read(path)
    (array,), meta = image_read.numpy(), image_read.meta
    rescaled = 2 * image.T - 100
    np.testing.assert_allclose(array, rescaled.max() + rescaled.min() - rescaled)
    # one column on is 0.5 mm to the left (RAS -x), one row on is 0.8 mm to the feet
    np.testing.assert_allclose(meta["original_affine"] @ [1, 0, 0, 0], [-0.5, 0, 0, 0])
    np.testing.assert_allclose(meta["original_affine"] @ [0, 1, 0, 0], [0, 0, -0.8, 0])
    np.testing.assert_allclose(meta["original_affine"][:3, 3], [-1, -2, 3])
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
    meta = DICOM().read(write_dicom(tmp_path / "a.dcm", gradient(), **tags)).meta
    np.testing.assert_allclose(np.linalg.norm(meta["original_affine"][:3, :2], axis=0), spacing)
    assert meta["spacing_unit"] == unit


def ybr(image: np.ndarray) -> np.ndarray:
    """DICOM's YBR_FULL (PS3.3, C.7.6.3.1.2)."""
    matrix = [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]]
    return (image @ np.transpose(matrix) + [0, 128, 128]).round().clip(0, 255).astype(np.uint8)


def rows_first(path: Path) -> np.ndarray:
    image = DICOM().read(path)
    assert image.meta["file_shape"] == (30, 40, 1)
    return image.numpy().T


@pytest.mark.parametrize("dtype, gain", [(np.uint8, 1), (np.uint16, 250)])
@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_is_read_and_not_rescaled(tmp_path: Path, dtype: type, gain: int, planar: int) -> None:
    image = colours().astype(dtype) * dtype(gain)
    stored = image.transpose(2, 0, 1) if planar else image
    tags = {"PlanarConfiguration": planar, "RescaleSlope": 2, "RescaleIntercept": -100}
    path = write_colour_dicom(tmp_path / "a", image, PixelData=stored.tobytes(), **tags)
    np.testing.assert_array_equal(rows_first(path), image)


@pytest.mark.parametrize("planar", [0, 1])
def test_ybr_full_becomes_rgb(tmp_path: Path, planar: int) -> None:
    stored = ybr(colours())
    pixels = (stored.transpose(2, 0, 1) if planar else stored).tobytes()
    path = write_colour_dicom(tmp_path / "a", stored, "YBR_FULL", PlanarConfiguration=planar, PixelData=pixels)
    np.testing.assert_allclose(rows_first(path).astype(int), colours(), atol=3)


def test_ybr_full_422_becomes_rgb(tmp_path: Path) -> None:
    # two pixels share their colour difference: y y b r
    image = np.repeat(colours()[:, ::2], 2, axis=1)
    stored = ybr(image)
    pixels = np.dstack([stored[:, ::2, 0], stored[:, 1::2, 0], stored[:, ::2, 1], stored[:, ::2, 2]]).tobytes()
    path = write_colour_dicom(tmp_path / "a", stored, "YBR_FULL_422", PixelData=pixels)
    np.testing.assert_allclose(rows_first(path).astype(int), image, atol=3)


@pytest.mark.parametrize(
    "photometric, syntax, settings",
    [
        ("YBR_FULL_422", "JPEGBaseline8Bit", {"format": "JPEG", "quality": 100, "subsampling": 0}),
        ("RGB", "JPEGBaseline8Bit", {"format": "JPEG", "quality": 100, "keep_rgb": True}),
        ("YBR_RCT", "JPEG2000Lossless", {"format": "JPEG2000", "mct": 1, "no_jp2": True}),
        ("YBR_ICT", "JPEG2000", {"format": "JPEG2000", "mct": 1, "irreversible": True, "no_jp2": True}),
    ],
)
def test_compressed_colours(tmp_path: Path, photometric: str, syntax: str, settings: dict) -> None:
    buffer = BytesIO()
    Image.fromarray(colours()).save(buffer, **settings)
    dataset = pydicom.dcmread(write_colour_dicom(tmp_path / "a", colours(), photometric))
    dataset.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    dataset.PixelData = pydicom.encaps.encapsulate([buffer.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "a")
    np.testing.assert_allclose(rows_first(tmp_path / "a").astype(int), colours(), atol=4)


@pytest.mark.parametrize("bits, unit", [(8, 1), (16, 257)])
def test_palette_is_resolved(tmp_path: Path, bits: int, unit: int) -> None:
    index = gradient(top=255).astype(np.uint16)
    red = np.arange(256, dtype=f"u{bits // 8}") * unit
    tables = {"Red": red, "Green": red[::-1], "Blue": red // 2}
    tags: dict = {f"{name}PaletteColorLookupTableData": table.tobytes() for name, table in tables.items()}
    tags |= {f"{name}PaletteColorLookupTableDescriptor": [256, 0, bits] for name in tables}
    path = write_dicom(tmp_path / "a", index, "PALETTE COLOR", **tags)
    np.testing.assert_array_equal(rows_first(path), np.stack([table[index] for table in tables.values()], axis=-1))


def test_colours_with_a_profile_become_srgb(tmp_path: Path) -> None:
    path = write_colour_dicom(tmp_path / "a", colours(), ICCProfile=linear_profile())
    np.testing.assert_allclose(rows_first(path), srgb_of_light(colours()), atol=2)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: write_dicom(path, gradient(), NumberOfFrames=2), r"a\.dcm holds 2 frames: give one image a file"),
        (lambda path: write_dicom(path, gradient(), "HSV"), "colours of the kind HSV with 16 bits: export it as grey"),
        (
            lambda path: write_colour_dicom(path, colours(), "YBR_PARTIAL_422"),
            "of the kind YBR_PARTIAL_422 with 8 bits",
        ),
        (
            lambda path: write_colour_dicom(path, colours().astype("u2"), "YBR_FULL"),
            "of the kind YBR_FULL with 16 bits",
        ),
        (lambda path: write_dicom(path, gradient(), "PALETTE COLOR"), "No suitable Palette Color Lookup Table"),
        (lambda path: write_dicom(path, gradient(), PixelData=b"12"), r"pixels of a\.dcm are damaged"),
        (lambda path: compressed(path), r"pixels of a\.dcm are damaged"),
    ],
)
def test_images_that_cannot_be_read(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DICOM().read(make(tmp_path / "a.dcm"))


def compressed(path: Path) -> Path:
    dataset = pydicom.dcmread(write_dicom(path, gradient()))
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51 not a codestream "])
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


def test_missing_decoder_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compressed(tmp_path / "a.dcm")

    def pixel_array(dataset: pydicom.Dataset) -> np.ndarray:
        raise RuntimeError("Unable to decompress pixel data because all plugins are missing dependencies")

    monkeypatch.setattr(pydicom.FileDataset, "pixel_array", property(pixel_array))
    with pytest.raises(
        ValueError, match="JPEG 2000.* no decoder is installed: pip install pylibjpeg pylibjpeg-openjpeg"
    ):
        DICOM().read(path)
