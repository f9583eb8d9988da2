# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Images that are no files: arrays, tensors, and images of PIL, SimpleITK and nibabel."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from PIL import Image
from torch import Tensor

from monai_semgan.formats.itk import itk_affine, itk_array

# of arrays whose rows run downwards and whose columns run to the right of the screen: to the feet (or the back), to the
# patient's left
UPRIGHT = np.array([[0.0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def in_memory(image: Any, spatial_dims: int) -> MetaTensor:
    """Bring an image that is no file to what reading gives: ``(C, ...)`` with an affine.

    Args:
        image: see :meth:`monai_semgan.predictor.Predictor.__call__`.
        spatial_dims: 2 for images, 3 for volumes.

    Returns:
        The image with the metadata that results are placed by.

    Raises:
        ValueError: for another type, or another number of dimensions.
    """
    affine, rows_first = UPRIGHT, True
    if isinstance(image, MetaTensor):
        affine, rows_first = image.affine.numpy(), False
        array = image.as_tensor()
    elif isinstance(image, Tensor):
        array = image
    elif isinstance(image, Image.Image):
        grey = image.mode in ("1", "L") or image.mode.startswith(("I", "F"))
        array = channel_first(np.asarray(image if grey else image.convert("RGB")), 2)
    elif isinstance(image, np.ndarray):
        array = channel_first(image, spatial_dims)
    elif isinstance(image, nib.spatialimages.SpatialImage):
        affine, rows_first = np.asarray(image.affine, np.float64), False
        array = torch.as_tensor(np.asarray(image.dataobj, dtype=np.float32))
    elif type(image).__module__.startswith("SimpleITK"):
        affine, rows_first = itk_affine(image), False
        array = torch.as_tensor(np.asarray(itk_array(image), dtype=np.float32))
    else:
        raise ValueError(
            f"image is a {type(image).__name__}: give a path, an array, a tensor, or a PIL, SimpleITK or nibabel image"
        )
    array = torch.as_tensor(array).detach().cpu().float()
    array = array[None] if array.ndim == spatial_dims else array
    if array.ndim != spatial_dims + 1:
        raise ValueError(
            f"image has shape {tuple(array.shape)}, {spatial_dims} spatial dimensions are expected, the channel "
            "first in tensors and last in arrays"
        )
    shape = array.shape[1:]
    meta = {
        "filename_or_obj": "image",
        "spatial_shape": np.array(shape),
        "original_affine": np.asarray(affine, np.float64),
        "file_affine": np.asarray(affine, np.float64),
        "file_shape": tuple(shape) if spatial_dims == 3 else (*shape, 1),
        "spacing_unit": "pixel" if rows_first else "mm",
        "rows_first": rows_first,
        "file_format": "picture" if rows_first and spatial_dims == 2 else "nifti",
    }
    return MetaTensor(array, affine=torch.as_tensor(np.asarray(affine, np.float64)), meta=meta)


def channel_first(array: np.ndarray, spatial_dims: int) -> Tensor:
    """Move the colours of an array ``(row, column, colour)`` to the front."""
    values = torch.as_tensor(np.ascontiguousarray(array, dtype=np.float32))
    return values.movedim(-1, 0) if array.ndim == spatial_dims + 1 else values
