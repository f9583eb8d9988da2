# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""DICOM files of one two-dimensional image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from monai.data.utils import orientation_ras_lps
from PIL import Image

from monai_semgan.data.picture import srgb

try:
    from pydicom.pixels import apply_color_lut, convert_color_space
except ImportError:  # pydicom 2, to which MONAI Label is bound
    from pydicom.pixel_data_handlers.util import apply_color_lut, convert_color_space  # type: ignore[no-redef]

# pip packages with a decoder, by what the name of a compressed transfer syntax contains
DECODERS = {
    "JPEG 2000": "pylibjpeg pylibjpeg-openjpeg",
    "High-Throughput": "pylibjpeg pylibjpeg-openjpeg",
    "JPEG": "pylibjpeg pylibjpeg-libjpeg",
    "RLE": "pylibjpeg pylibjpeg-rle",
}
SPACING_TAGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")


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
        raise ValueError(f"{path.name} holds {dataset.NumberOfFrames} frames: give one image a file")
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    bits = int(dataset.get("BitsAllocated") or 8)
    # YBR_FULL is defined for 8 bits
    if photometric not in (*GREY, *COLOURS) or (photometric.startswith("YBR_FULL") and bits > 8):
        raise ValueError(
            f"{path.name} has colours of the kind {photometric} with {bits} bits: export it as grey values or RGB"
        )
    array = dicom_pixels(dataset, path)
    if photometric in GREY:
        array = array.astype(np.float32)
        array = array * float(dataset.get("RescaleSlope") or 1) + float(dataset.get("RescaleIntercept") or 0)
        if photometric == "MONOCHROME1":
            array = array.max() + array.min() - array
    elif array.dtype == np.uint8:
        array = np.asarray(srgb(Image.fromarray(array), dataset.get("ICCProfile")))
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
        Stored grey values, ``(row, column)``, or RGB, ``(row, column, 3)``.

    Raises:
        ValueError: when the pixels cannot be decoded.
    """
    try:
        array = dataset.pixel_array
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            return apply_color_lut(array, dataset)[..., :3]
        # pydicom 3, which has these options, does so by itself
        if dataset.PhotometricInterpretation.startswith("YBR_FULL") and not hasattr(dataset, "pixel_array_options"):
            return convert_color_space(array, "YBR_FULL", "RGB")
        return array
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

    An image without orientation or position gets x along the rows, y along the columns and the origin of the
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
