# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Small image files made by the tests."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from PIL import Image
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
    dataset.save_as(path, enforce_file_format=True)
    return path


def oblique_affine() -> np.ndarray:
    """Columns to the left, rows to the feet, turned by 20 degrees about x; spacing 0.5 x 0.8 mm, off the origin."""
    angle = np.deg2rad(20)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    axes = turn @ np.array([[-1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    affine = np.eye(4)
    affine[:3, :3] = axes * [0.5, 0.8, 1.0]
    affine[:3, 3] = [12.0, -7.0, 31.0]
    return affine
