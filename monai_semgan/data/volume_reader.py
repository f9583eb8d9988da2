# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A reader of single three-dimensional volumes: NIfTI, NRRD, MetaImage and DICOM series."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader
from monai.data.utils import orientation_ras_lps
from monai.utils import ensure_tuple

from monai_semgan.data.dicom_series import is_dicom, read_series
from monai_semgan.data.formats import DICOM, META_IMAGE, NIFTI, NRRD, VOLUME_SUFFIXES, suffix
from monai_semgan.data.nifti import load_nifti

logger = logging.getLogger(__name__)


def volume_format(path: Path) -> str | None:
    """Tell the format of a volume.

    Args:
        path: an existing file, or a folder, which is taken as one of DICOM slices.

    Returns:
        ``NIFTI``, ``NRRD``, ``META_IMAGE``, ``DICOM``, or None for anything else.
    """
    if path.is_dir():
        return DICOM
    return VOLUME_SUFFIXES.get(suffix(path)) or (DICOM if is_dicom(path) else None)


class VolumeReader(ImageReader):
    """Read one 3-D volume, indexed as it is stored, first index fastest, as all of MONAI's readers do.

    - NIfTI (.nii, .nii.gz), NRRD (.nrrd) and MetaImage (.mha, .mhd): three dimensions, or more of which all but three
      have length 1.
    - DICOM series: a folder with the slices of one series, or one slice, which stands for all of its series in its
      folder. Slices are sorted by position and rescaled to Hounsfield units (slope and intercept). Uneven gaps, as a
      missing slice leaves, give a warning.

    Besides MONAI's, the metadata holds ``file_format``, ``spacing_unit`` ("mm"), ``file_shape`` and ``file_affine``,
    those a NIfTI file has, or should have, to lie over the volume; and, of a NIfTI file, its header in hexadecimal,
    ``nifti_header``.
    """

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Tell whether all of the files and folders are of a format this reader knows."""
        return all(Path(name).exists() and volume_format(Path(name)) for name in ensure_tuple(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Path:
        """
        Args:
            data: one file or folder.
            kwargs: none are used.

        Returns:
            The path. Its content is read in :meth:`get_data`: ``LoadImage`` answers an error raised here by trying
            reader after reader, and hides it.

        Raises:
            ValueError: when several files are given.
        """
        files = ensure_tuple(data)
        if len(files) != 1:
            raise ValueError(f"{len(files)} files given for one volume, give their folder or one of them: {files}")
        return Path(files[0])

    def get_data(self, img: Path) -> tuple[np.ndarray, dict]:
        """
        Args:
            img: the file or the folder.

        Returns:
            The volume, 3-D, and its metadata.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it cannot be read or is no volume, with the cause.
        """
        if not img.exists():
            raise FileNotFoundError(f"{img} is missing")
        if img.is_file() and img.stat().st_size == 0:
            raise ValueError(f"{img.name} is an empty file (0 bytes): copy or export it again")
        kind = volume_format(img)
        if kind is None:
            raise ValueError(f"{img.name} is neither DICOM nor one of {', '.join(VOLUME_SUFFIXES)}")
        array, meta = {NIFTI: read_nifti, NRRD: read_itk, META_IMAGE: read_itk, DICOM: read_series}[kind](img)
        affine = check_affine(meta["original_affine"], img.name)
        meta.update(file_format=kind, file_shape=array.shape, file_affine=affine, affine=affine.copy())
        array = check_volume(array, img.name)
        meta["spatial_shape"] = np.array(array.shape)
        meta.update(spacing_unit="mm", original_channel_dim=float("nan"), space="RAS")
        return array, meta


def read_nifti(path: Path) -> tuple[np.ndarray, dict]:
    """Read a NIfTI file of any number of dimensions."""
    image, array = load_nifti(path)
    header = image.header
    if header["qform_code"] == 0 and header["sform_code"] == 0:
        logger.warning(
            "%s does not say how it lies in the patient (qform_code and sform_code are 0): taken to run from right to "
            "left, from back to front, from feet to head",
            path.name,
        )
    return array, {"original_affine": np.asarray(image.affine, np.float64), "nifti_header": header.binaryblock.hex()}


def read_itk(path: Path) -> tuple[np.ndarray, dict]:
    """Read an NRRD or MetaImage file of any number of dimensions."""
    import SimpleITK as sitk  # late, it is large and seldom needed

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        cause = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path.name} is damaged or lacks its data file ({cause}): export it again") from error
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise ValueError(f"{path.name} has {image.GetNumberOfComponentsPerPixel()} values a voxel: give a grey volume")
    dims = image.GetDimension()
    affine = np.eye(4)
    # dimensions beyond the third have no place in the patient
    shown = min(dims, 3)
    direction = np.array(image.GetDirection()).reshape(dims, dims)[:shown, :shown]
    affine[:shown, :shown] = direction * np.array(image.GetSpacing())[:shown]
    affine[:shown, 3] = image.GetOrigin()[:shown]
    return sitk.GetArrayFromImage(image).T, {"original_affine": orientation_ras_lps(affine)}


def check_affine(affine: np.ndarray, name: str) -> np.ndarray:
    """Refuse an affine that does not place a volume."""
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-12:
        raise ValueError(f"{name} has a broken affine, {affine[:3].tolist()}: convert it again")
    return affine


def check_volume(array: np.ndarray, name: str) -> np.ndarray:
    """Bring an array to three dimensions, or say why it is no volume."""
    shape = array.shape
    if array.dtype.kind not in "buif":
        raise ValueError(f"{name} holds colours or complex values ({array.dtype}): convert it to grey values")
    if array.size == 0:
        raise ValueError(f"{name} has no voxels (shape {shape}): export it again")
    if any(length > 1 for length in shape[3:]):
        raise ValueError(f"{name} is of shape {shape}, {np.prod(shape[3:])} volumes (time points): give one a file")
    # the extremes of an array with NaN are NaN
    if not np.isfinite([array.min(), array.max()]).all():
        raise ValueError(f"{name} holds NaN or infinite values: export it again, or set them to the background's value")
    return array.reshape((*shape, 1, 1)[:3])
