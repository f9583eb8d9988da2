# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Files of images and volumes: which are read, how they are recognised, and what their names are without suffix."""

from __future__ import annotations

from pathlib import Path, PurePath

PICTURE = "picture"
NIFTI = "nifti"
DICOM = "dicom"
NRRD = "nrrd"
META_IMAGE = "metaimage"

# of two-dimensional images
SUFFIXES = {
    ".png": PICTURE,
    ".jpg": PICTURE,
    ".jpeg": PICTURE,
    ".tif": PICTURE,
    ".tiff": PICTURE,
    ".bmp": PICTURE,
    ".webp": PICTURE,
    ".nii": NIFTI,
    ".nii.gz": NIFTI,
    ".dcm": DICOM,
    ".dicom": DICOM,
}
VOLUME_SUFFIXES = {".nii": NIFTI, ".nii.gz": NIFTI, ".nrrd": NRRD, ".mha": META_IMAGE, ".mhd": META_IMAGE}


def suffix(path: PurePath) -> str:
    """Return the known suffix a file name ends with, lower case, or an empty string."""
    name = path.name.lower()
    # longest first: .nii.gz before .gz; a name that is nothing but a suffix has none
    known = sorted({*SUFFIXES, *VOLUME_SUFFIXES}, key=len, reverse=True)
    return next((s for s in known if name.endswith(s) and name != s), "")


def stem(path: PurePath) -> str:
    """Return a file name without its known suffix; names with dots, such as DICOM identifiers, stay whole."""
    return path.name[: len(path.name) - len(suffix(path))]


def file_format(path: Path) -> str | None:
    """Tell the format of a 2-D image by its suffix, or as DICOM by the preamble that its format prescribes.

    Args:
        path: an existing file.

    Returns:
        ``PICTURE``, ``NIFTI``, ``DICOM``, or None for anything else.
    """
    known = SUFFIXES.get(suffix(path))
    if known is not None:
        return known
    with path.open("rb") as file:
        return DICOM if file.read(132)[128:] == b"DICM" else None
