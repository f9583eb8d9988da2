# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from monai.transforms import LoadImage
from PIL import Image

from monai_semgan.formats import FormatReader
from tests.image_files import gradient, write_nifti, write_png


def read(path: Path) -> tuple[np.ndarray, dict]:
    reader = FormatReader(2)
    return reader.get_data(reader.read(path))


@pytest.mark.parametrize("dtype, top", [(np.uint8, 255), (np.uint16, 60000)])
def test_png_is_indexed_column_first(tmp_path: Path, dtype: type, top: int) -> None:
    image = gradient(top=top).astype(dtype)
    array, meta = read(write_png(tmp_path / "a.png", image))
    np.testing.assert_array_equal(array, image.T[None])
    assert meta["spacing_unit"] == "pixel"
    assert tuple(meta["spatial_shape"]) == (30, 40)
    np.testing.assert_array_equal(meta["affine"], np.eye(4))


def test_jpeg_of_colour_has_channels_first(tmp_path: Path) -> None:
    Image.fromarray(gradient().astype(np.uint8)).convert("RGB").save(tmp_path / "a.JPG")
    array, meta = read(tmp_path / "a.JPG")
    assert array.shape == (3, 30, 40)
    assert meta["original_channel_dim"] == 0


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda f: (f / "a.png").write_bytes(b"") and None or f / "a.png", r"a\.png is an empty file \(0 bytes\)"),
        (lambda f: (f / "a.png").write_text("text") and f / "a.png", r"a\.png is damaged or not a PNG"),
        (lambda f: (f / "a.nii.gz").write_text("text") and f / "a.nii.gz", r"a\.nii\.gz is damaged or not a NIfTI"),
        (lambda f: (f / "a.dcm").write_text("text") and f / "a.dcm", r"a\.dcm is damaged or not a DICOM"),
        (lambda f: (f / "a.txt").write_text("text") and f / "a.txt", r"a\.txt is neither DICOM nor one of \.png"),
        (lambda f: write_nifti(f / "a.nii", np.ones((4, 5, 6)), np.eye(4)), r"of shape \(4, 5, 6\), not one 2-D image"),
    ],
)
def test_unreadable_files_say_what_is_wrong(tmp_path: Path, make, message: str) -> None:
    path = make(tmp_path)
    with pytest.raises(ValueError, match=message):
        LoadImage(reader=FormatReader(2))(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        read(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="a folder, not a file"):
        read(tmp_path)
    for name in "ab":
        write_png(tmp_path / f"{name}.png", gradient().astype(np.uint8))
    with pytest.raises(ValueError, match="2 files given for one image"):
        LoadImage(reader=FormatReader(2))([tmp_path / "a.png", tmp_path / "b.png"])
