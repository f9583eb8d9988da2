# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""NIfTI: single images or slices, and volumes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import MetaTensor

from monai_semgan.formats.registry import Format, register

logger = logging.getLogger(__name__)


@register
class NIfTI(Format):
    """NIfTI: two dimensions, or three of which one has a single slice; or volumes, whose header is kept."""

    name = "nifti"
    suffixes = (".nii", ".nii.gz")

    def read(self, path: Path, spatial_dims: int) -> MetaTensor:
        """Read an image, with any two of the axes, or a volume, with ``nifti_header`` in hexadecimal."""
        image, array = load(path, "NIfTI")
        affine = np.asarray(image.affine, dtype=np.float64)
        if spatial_dims == 2:
            return self.plane(array, path, affine)
        if image.header["qform_code"] == 0 and image.header["sform_code"] == 0:
            logger.warning(
                "%s does not say how it lies in the patient (qform_code and sform_code are 0): taken to run from right "
                "to left, from back to front, from feet to head",
                path.name,
            )
        return self.volume(array, path, affine, nifti_header=image.header.binaryblock.hex())

    def plane(self, array: np.ndarray, path: Path, affine: np.ndarray) -> MetaTensor:
        """Make an image of the only slice of an array of any number of dimensions."""
        if array.dtype.fields:
            raise ValueError(f"{path.name} is a NIfTI file of colours: convert it to grey values, or export it as PNG")
        shape = array.shape
        slices = [axis for axis, length in enumerate(shape[:3]) if length == 1]
        if len(shape) < 2 or (len(shape) > 2 and not slices) or any(length > 1 for length in shape[3:]):
            raise ValueError(f"{path.name} is of shape {shape}, not one 2-D image: give one image or slice a file")
        normal = slices[-1] if len(shape) > 2 else 2
        axes = [axis for axis in range(3) if axis != normal]
        stored = {"spacing_unit": "mm", "file_shape": shape, "file_affine": affine}
        # columns: the two axes of the image, the normal, the origin
        return self.image(
            array.reshape([1, *(shape[axis] for axis in axes)]), path, affine[:, [*axes, normal, 3]], **stored
        )


def load(path: Path, kind: str) -> tuple[Any, np.ndarray]:
    """Load image and values of a file that nibabel reads, of any number of dimensions; errors call its format ``kind``.

    Raises:
        ValueError: when it cannot be read, with the cause.
    """
    try:
        image: Any = nib.load(path)
        return image, np.asanyarray(image.dataobj)
    except Exception as error:  # nibabel passes on whatever gzip, zlib or numpy raise
        raise ValueError(f"{path.name} is damaged or not a {kind} file ({error}): export it again") from error
