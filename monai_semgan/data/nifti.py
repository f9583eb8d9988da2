# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""NIfTI files, and those of one two-dimensional image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np


def load_nifti(path: Path) -> tuple[Any, np.ndarray]:
    """Load a NIfTI file of any number of dimensions: nibabel's image and its values.

    Raises:
        ValueError: when it cannot be read, with the cause.
    """
    try:
        image: Any = nib.load(path)
        return image, np.asanyarray(image.dataobj)
    except Exception as error:  # nibabel passes on whatever gzip, zlib or numpy raise
        raise ValueError(f"{path.name} is damaged or not a NIfTI file ({error}): export it again") from error


def read_nifti(path: Path) -> tuple[np.ndarray, dict]:
    """Read a NIfTI file that holds one 2-D image."""
    image, array = load_nifti(path)
    if array.dtype.fields:
        raise ValueError(f"{path.name} is a NIfTI file of colours: convert it to grey values, or export it as PNG")
    shape = array.shape
    slices = [axis for axis, length in enumerate(shape[:3]) if length == 1]
    if len(shape) < 2 or (len(shape) > 2 and not slices) or any(length > 1 for length in shape[3:]):
        raise ValueError(f"{path.name} is of shape {shape}, not one 2-D image: give one image or slice a file")
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
