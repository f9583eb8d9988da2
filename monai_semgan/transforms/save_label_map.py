# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Label maps that lie exactly on the volumes they belong to."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from monai.utils import convert_to_tensor

from monai_semgan.transforms.save_mask import SaveMaskd


def label_map(mask: MetaTensor) -> nib.Nifti1Image:
    """Make the NIfTI image of a label map.

    Args:
        mask: whole numbers from 0 to 255, ``(1, ...)``, stored as its volume is.

    Returns:
        The image, of NIfTI-2 if the volume's file is.

    Raises:
        ValueError: when the label map is not on its volume's grid.
    """
    meta = mask.meta
    grid = tuple(int(n) for n in meta["spatial_shape"])
    if tuple(mask.shape[1:]) != grid:
        raise ValueError(
            f"label map of {tuple(mask.shape[1:])} voxels is not on its volume's grid of {grid}: invert it"
        )
    array = convert_to_tensor(mask, track_meta=False).cpu().numpy().astype(np.uint8).reshape(meta["file_shape"])
    if "nifti_header" in meta:
        return with_header(array, bytes.fromhex(meta["nifti_header"]))
    affine = np.asarray(meta["file_affine"])
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    if not np.allclose(image.get_qform(), affine, atol=1e-3):
        # a qform cannot hold the shear of a tilted gantry
        image.set_qform(affine, code=0)
    image.header.set_xyzt_units("mm")
    return image


def with_header(array: np.ndarray, block: bytes) -> nib.Nifti1Image:
    """Put an array of unsigned bytes under a NIfTI header that was made for other values."""
    kind = nib.Nifti1Image if len(block) == nib.Nifti1Header.sizeof_hdr else nib.Nifti2Image
    image = kind(array, None, kind.header_class(block, check=False))
    image.header.set_data_dtype(np.uint8)
    image.header.set_data_offset(0)
    # the range in which the volume is displayed
    image.header["cal_min"] = image.header["cal_max"] = 0
    return image


def write_label_map(mask: MetaTensor, path: Path) -> Path:
    """Write the NIfTI image of a label map to a file without suffix; returns the file with its suffix."""
    # names may hold dots, so the suffix is appended, not replaced
    file = path.with_name(path.name + ".nii.gz")
    nib.save(label_map(mask), file)
    return file


class SaveLabelMapd(SaveMaskd):
    """Write a label map as NIfTI of unsigned bytes, with the shape and the geometry of its volume's file.

    Of a NIfTI volume the whole header is kept but for the type of the values: qform, sform and their codes, units,
    description. Label maps of other formats have the volume's affine. The file is
    ``{output_dir}/{item[name_key]}{postfix}.nii.gz``; its path is put into the item as ``{key}_file``. (A
    ``SaveImaged``, so that MONAI Label, which writes by itself, knows to leave it out.)

    Args:
        keys: keys of the label maps ``(1, ...)``, on the grid of their volume, with the metadata that
            :class:`monai_semgan.data.VolumeReader` gives.
        output_dir: folder to write to.
        name_key: key of the item that holds the file's name without suffix; may contain folders.
        postfix: ending of the name.
        allow_missing_keys: pass over keys that an item does not have.
    """

    write = staticmethod(write_label_map)
