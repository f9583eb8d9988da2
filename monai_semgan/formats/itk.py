# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""NRRD and MetaImage, the volumes of ITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.data.utils import orientation_ras_lps

from monai_semgan.formats.registry import Format, mask_values, register, with_suffix, writes

# bytes that the text of a header lies in, and what tells the size of voxels there, of NRRD and of MetaImage
HEAD = 4096
SIZES = (b"\nspacings:", b"\nspace directions:", b"elementspacing", b"elementsize")


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
        with path.open("rb") as file:
            head = file.read(HEAD).lower()
        if any(word in head for word in SIZES):
            return self.volume(itk_array(image), path, itk_affine(image))
        told = ["the size of its voxels is unknown (its header has none)"]
        return self.volume(itk_array(image), path, itk_affine(image), warnings=told, spacing_unit="pixel")


@writes("nrrd")
def write_nrrd(mask: MetaTensor, path: Path) -> Path:
    """Write a mask as compressed NRRD of unsigned bytes, with the dimensions and the place of its image's file."""
    import SimpleITK as sitk  # late, it is large and seldom needed

    values = mask_values(mask)
    # dimensions beyond the third are of length 1
    array = values.reshape(tuple(mask.meta.get("file_shape", values.shape))[:3])
    affine = np.asarray(mask.meta.get("file_affine", mask.affine), np.float64)
    axes = orientation_ras_lps(affine)[: array.ndim]
    spacing = np.linalg.norm(axes[:, : array.ndim], axis=0)
    image = sitk.GetImageFromArray(array.T)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((axes[:, : array.ndim] / spacing).ravel().tolist())
    image.SetOrigin(axes[:, 3].tolist())
    file = with_suffix(path, ".nrrd")
    sitk.WriteImage(image, str(file), useCompression=True)
    return file


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
