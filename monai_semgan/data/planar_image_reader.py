# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A reader of single two-dimensional images, grey or in colour: pictures, NIfTI and DICOM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader
from monai.utils import ensure_tuple

from monai_semgan.data.dicom import read_dicom
from monai_semgan.data.formats import DICOM, NIFTI, PICTURE, SUFFIXES, file_format
from monai_semgan.data.nifti import read_nifti
from monai_semgan.data.picture import read_picture


class PlanarImageReader(ImageReader):
    """Read one 2-D image a file, indexed (column, row) as all of MONAI's readers do.

    - PNG, JPEG, TIFF, BMP, WebP: 8 and 16 bit, turned as EXIF says. Palettes, CMYK and Lab become RGB, by the ICC
      profile where there is one; transparency is dropped. 16-bit colours with a profile come with 8 bits.
    - NIfTI: two dimensions, or three of which one has a single slice.
    - DICOM: rescale slope and intercept applied, MONOCHROME1 inverted so that bone is bright; YBR and palettes become
      RGB, which is not rescaled. The spacing is PixelSpacing, else ImagerPixelSpacing (at the detector), else
      NominalScannedPixelSpacing.

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
