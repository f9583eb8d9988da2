# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""NRRD and MetaImage, the volumes of ITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.data.utils import orientation_ras_lps

from monai_semgan.formats.registry import Format, register


@register
class ITK(Format):
    """NRRD and MetaImage, with the values in the file or in one beside it."""

    name = "itk"
    suffixes = (".nrrd", ".nhdr", ".mha", ".mhd")
    spatial_dims = (3,)

    def read(self, path: Path, spatial_dims: int = 3) -> MetaTensor:
        """Read a volume."""
        import SimpleITK as sitk  # late, it is large and seldom needed

        try:
            image = sitk.ReadImage(str(path))
        except RuntimeError as error:
            cause = str(error).strip().splitlines()[-1]
            raise ValueError(f"{path.name} is damaged or lacks its data file ({cause}): export it again") from error
        values = image.GetNumberOfComponentsPerPixel()
        if values > 1:
            raise ValueError(f"{path.name} has {values} values a voxel: give a grey volume")
        return self.volume(itk_array(image), path, itk_affine(image))


def itk_array(image: Any) -> np.ndarray:
    """Values of a SimpleITK image, first index fastest; colours come first."""
    import SimpleITK as sitk  # late, it is large and seldom needed

    return sitk.GetArrayFromImage(image).T


def itk_affine(image: Any) -> np.ndarray:
    """Matrix, 4x4, from the first three indices of a SimpleITK image to RAS millimetres."""
    dims = image.GetDimension()
    affine = np.eye(4)
    # dimensions beyond the third have no place in the patient
    shown = min(dims, 3)
    direction = np.array(image.GetDirection()).reshape(dims, dims)[:shown, :shown]
    affine[:shown, :shown] = direction * np.array(image.GetSpacing())[:shown]
    affine[:shown, 3] = image.GetOrigin()[:shown]
    return orientation_ras_lps(affine)
