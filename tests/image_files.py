# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Small image files made by the tests."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from PIL import Image, ImageCms
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid


def gradient(rows: int = 40, columns: int = 30, top: int = 255) -> np.ndarray:
    """An image without symmetry: brighter to the lower right, with a bright upper-left corner."""
    image = np.add.outer(2.0 * np.arange(rows), np.arange(columns))
    image[: rows // 4, : columns // 3] = image.max()
    return np.rint(image / image.max() * top)


def write_png(path: Path, image: np.ndarray) -> Path:
    Image.fromarray(image).save(path)
    return path


def colours(rows: int = 40, columns: int = 30) -> np.ndarray:
    """An RGB image ``(rows, columns, 3)``, 8 bits, without symmetry: its channels differ everywhere."""
    grey = gradient(rows, columns, 200)
    return np.stack([grey + 50, 220 - grey, grey / 2 + 20], axis=-1).round().astype(np.uint8)


def write_png_16(path: Path, image: np.ndarray) -> Path:
    """Write 16 bit grey with alpha, RGB or RGBA, ``(row, column, 2, 3 or 4)``, which Pillow does not."""
    rows, columns, channels = image.shape
    header = struct.pack(">2I5B", columns, rows, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    data = b"".join(b"\0" + row.tobytes() for row in image.astype(">u2"))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    )
    return path


def linear_profile() -> bytes:
    """A matrix profile of sRGB's primaries whose values are proportional to the light (ICC.1:2022)."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(int.from_bytes(data[128:132], "big")):
        entry = 132 + 12 * number
        if data[entry : entry + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            start = int.from_bytes(data[entry + 4 : entry + 8], "big")
            # a parametric curve of type 0: the value to the power of 1.0
            data[start : start + 16] = b"para" + bytes(8) + (1 << 16).to_bytes(4, "big")
    return bytes(data)


def srgb_of_light(light: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, 8 bits."""
    light = light / 255
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def write_dicom(path: Path, image: np.ndarray, photometric: str = "MONOCHROME2", **tags: object) -> Path:
    """Write 12 bit values, ``(row, column)``, as a computed radiography image."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = "CR"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = photometric
    dataset.Rows, dataset.Columns = image.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = image.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    if pydicom.__version__.startswith("2."):
        # the version that MONAI Label is bound to
        dataset.is_little_endian, dataset.is_implicit_VR = True, False
        dataset.save_as(path, write_like_original=False)
    else:
        dataset.save_as(path, enforce_file_format=True)
    return path


def write_colour_dicom(path: Path, image: np.ndarray, photometric: str = "RGB", **tags: object) -> Path:
    """Write 8 or 16 bit values of three channels, ``(row, column, 3)``, as they are."""
    bits = 8 * image.dtype.itemsize
    colour = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "BitsAllocated": bits, "BitsStored": bits}
    pixels = {"HighBit": bits - 1, "PixelData": image.tobytes()}
    return write_dicom(path, image[..., 0], photometric, **{**colour, **pixels, **tags})


def oblique_affine() -> np.ndarray:
    """Columns to the left, rows to the feet, turned by 20 degrees about x; spacing 0.5 x 0.8 mm, off the origin."""
    angle = np.deg2rad(20)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    axes = turn @ np.array([[-1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    affine = np.eye(4)
    affine[:3, :3] = axes * [0.5, 0.8, 1.0]
    affine[:3, 3] = [12.0, -7.0, 31.0]
    return affine
