# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A reader of single two-dimensional images: PNG, JPEG, NIfTI and DICOM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from monai.config import PathLike
from monai.data import ImageReader
from monai.data.utils import orientation_ras_lps
from monai.utils import ensure_tuple
from PIL import Image

from monai_semgan.data.formats import DICOM, NIFTI, PICTURE, SUFFIXES, file_format

# pip packages with a decoder, by what the name of a compressed transfer syntax contains
DECODERS = {
    "JPEG 2000": "pylibjpeg pylibjpeg-openjpeg",
    "High-Throughput": "pylibjpeg pylibjpeg-openjpeg",
    "JPEG": "pylibjpeg pylibjpeg-libjpeg",
    "RLE": "pylibjpeg pylibjpeg-rle",
}
SPACING_TAGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


class RadiographReader(ImageReader):
    """Read one 2-D image a file, indexed (column, row) as all of MONAI's readers do.

    - PNG, JPEG: 8 and 16 bit; palettes are resolved, transparency is dropped.
    - NIfTI: two dimensions, or three of which one has a single slice.
    - DICOM: rescale slope and intercept applied, MONOCHROME1 inverted so that bone is bright. The spacing is
      PixelSpacing, else ImagerPixelSpacing (at the detector), else NominalScannedPixelSpacing.

    Besides MONAI's, the metadata holds ``file_format``; ``spacing_unit``, "mm", or "pixel" where the spacing is not
    known; and ``file_shape`` and ``file_affine``, those a NIfTI file has, or should have, to lie over the image.
    """

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Tell whether all of the files are of a format this reader knows."""
        return all(Path(name).is_file() and file_format(Path(name)) for name in ensure_tuple(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Path:
        """
        Args:
            data: one file.
            kwargs: none are used.

        Returns:
            The file. Its content is read in :meth:`get_data`: ``LoadImage`` answers an error raised here by trying
            reader after reader, and hides it.

        Raises:
            ValueError: when several files are given.
        """
        files = ensure_tuple(data)
        if len(files) != 1:
            raise ValueError(f"{len(files)} files given for one image: {files}")
        return Path(files[0])

    def get_data(self, img: Path) -> tuple[np.ndarray, dict]:
        """
        Args:
            img: the file.

        Returns:
            The image, ``(column, row)`` or ``(column, row, channel)``, and its metadata.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it cannot be read, with the cause.
        """
        if not img.is_file():
            raise FileNotFoundError(f"{img} is {'a folder, not a file' if img.is_dir() else 'missing'}")
        if img.stat().st_size == 0:
            raise ValueError(f"{img.name} is an empty file (0 bytes): copy or export it again")
        kind = file_format(img)
        if kind is None:
            raise ValueError(f"{img.name} is neither DICOM nor one of {', '.join(SUFFIXES)}")
        read = {PICTURE: read_picture, NIFTI: read_nifti, DICOM: read_dicom}[kind]
        array, meta = read(img)
        meta["file_format"] = kind
        meta["affine"] = meta["original_affine"].copy()
        meta["spatial_shape"] = np.array(array.shape[:2])
        meta["original_channel_dim"] = float("nan") if array.ndim == 2 else -1
        meta["space"] = "RAS"
        return array, meta


def read_picture(path: Path) -> tuple[np.ndarray, dict]:
    """Read a PNG or JPEG file as grey or RGB."""
    try:
        with Image.open(path) as image:
            mode = "L" if image.mode in ("1", "LA", "La") else "RGB"
            as_stored = image.mode in ("L", "RGB", "F") or image.mode.startswith("I")
            array = np.asarray(image if as_stored else image.convert(mode))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name} is damaged or not a PNG or JPEG file ({error}): export it again") from error
    affine = np.eye(4)
    meta = {"original_affine": affine, "spacing_unit": "pixel"}
    return np.ascontiguousarray(array.swapaxes(0, 1)), meta


def read_nifti(path: Path) -> tuple[np.ndarray, dict]:
    """Read a NIfTI file that holds one 2-D image."""
    try:
        image: Any = nib.load(path)
        array = np.asanyarray(image.dataobj)
    except Exception as error:  # nibabel passes on whatever gzip, zlib or numpy raise
        raise ValueError(f"{path.name} is damaged or not a NIfTI file ({error}): export it again") from error
    if array.dtype.fields:
        raise ValueError(f"{path.name} is a NIfTI file of colours: convert it to grey values")
    shape = array.shape
    slices = [axis for axis, length in enumerate(shape[:3]) if length == 1]
    if len(shape) < 2 or (len(shape) > 2 and not slices) or any(length > 1 for length in shape[3:]):
        raise ValueError(f"{path.name} is of shape {shape}, not one 2-D image: give one radiograph or slice a file")
    normal = slices[-1] if len(shape) > 2 else 2
    plane = [axis for axis in range(3) if axis != normal]
    affine = np.asarray(image.affine, dtype=np.float64)
    meta = {
        # columns: the two axes of the image, the normal, the origin
        "original_affine": affine[:, [*plane, normal, 3]],
        "spacing_unit": "mm",
        "file_affine": affine,
        "file_shape": shape,
    }
    return array.reshape([shape[axis] for axis in plane]), meta


def read_dicom(path: Path) -> tuple[np.ndarray, dict]:
    """Read a DICOM file that holds one frame."""
    try:
        dataset = pydicom.dcmread(path)
    except (pydicom.errors.InvalidDicomError, OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path.name} is damaged or not a DICOM file ({error}): export it again") from error
    if "PixelData" not in dataset:
        kind = dataset.get("Modality") or "unknown modality"
        raise ValueError(f"{path.name} holds no image ({kind}): give the image's own DICOM file")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise ValueError(f"{path.name} holds {dataset.NumberOfFrames} frames: give one radiograph a file")
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if not photometric.startswith(("MONOCHROME", "RGB", "YBR")):
        raise ValueError(f"{path.name} has colours of the kind {photometric}: export it as grey values")
    array = dicom_pixels(dataset, path).astype(np.float32)
    array = array * float(dataset.get("RescaleSlope") or 1) + float(dataset.get("RescaleIntercept") or 0)
    if photometric == "MONOCHROME1":
        array = array.max() + array.min() - array
    spacing = next((dataset.get(tag) for tag in SPACING_TAGS if dataset.get(tag)), None)
    affine = dicom_affine(dataset, [float(value) for value in spacing or (1, 1)])
    array = array.swapaxes(0, 1)
    meta = {
        "original_affine": affine,
        "spacing_unit": "pixel" if spacing is None else "mm",
        "file_affine": affine,
        "file_shape": (*array.shape[:2], 1),
    }
    return np.ascontiguousarray(array), meta


def dicom_pixels(dataset: pydicom.Dataset, path: Path) -> np.ndarray:
    """Decode a DICOM image, or say which package can.

    Args:
        dataset: the DICOM file's content.
        path: the file.

    Returns:
        Stored values, ``(row, column)`` or ``(row, column, channel)``.

    Raises:
        ValueError: when the pixels cannot be decoded.
    """
    try:
        return dataset.pixel_array
    except Exception as error:  # the decoders are plug-ins and raise what they like
        syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
        missing = "missing" in str(error) or isinstance(error, NotImplementedError)
        if syntax is not None and syntax.is_compressed and missing:
            packages = next((names for text, names in DECODERS.items() if text in syntax.name), None)
            mend = f"pip install {packages}" if packages else "export it uncompressed"
            raise ValueError(f"{path.name} is compressed as {syntax.name}, no decoder is installed: {mend}") from error
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"pixels of {path.name} are damaged ({cause}): export it again") from error


def dicom_affine(dataset: pydicom.Dataset, spacing: Sequence[float]) -> np.ndarray:
    """Compute the affine from (column, row, 0) to RAS millimetres (DICOM PS3.3, C.7.6.2.1.1).

    A radiograph without orientation or position gets x along the rows, y along the columns and the origin of the
    patient's system, as ITK does, so that its mask lies over it in viewers.

    Args:
        dataset: the DICOM file's content.
        spacing: distance between rows, distance between columns, in millimetres.

    Returns:
        4x4 matrix.
    """
    orientation = dataset.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0)
    along_row, along_column = np.array([float(value) for value in orientation]).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0] = along_row * spacing[1]
    affine[:3, 1] = along_column * spacing[0]
    affine[:3, 2] = np.cross(along_row, along_column)
    affine[:3, 3] = [float(value) for value in dataset.get("ImagePositionPatient") or (0, 0, 0)]
    return orientation_ras_lps(affine)
