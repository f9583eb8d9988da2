# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Masks written in the format and the geometry of the images they belong to."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.config import KeysCollection, PathLike
from monai.data import MetaTensor
from monai.transforms import SaveImaged
from monai.utils import convert_to_tensor
from PIL import Image

from monai_semgan.data.formats import PICTURE


def write_mask(mask: MetaTensor, path: Path, foreground: int = 255) -> Path:
    """Write one mask beside the metadata's format.

    Args:
        mask: 0 and 1, ``(1, ...)``, stored as its image's file is.
        path: file without suffix.
        foreground: value of the mask in a picture, where 1 cannot be seen.

    Returns:
        The file with its suffix.

    Raises:
        ValueError: when the mask is not on its image's grid.
    """
    meta = mask.meta
    grid = tuple(int(n) for n in meta["spatial_shape"])
    if tuple(mask.shape[1:]) != grid:
        raise ValueError(f"mask of {tuple(mask.shape[1:])} is not on its image's grid of {grid}: invert the resizing")
    array = convert_to_tensor(mask, track_meta=False).cpu().numpy().astype(np.uint8)
    # names may hold dots, so the suffix is appended, not replaced
    if meta.get("file_format") == PICTURE:
        file = path.with_name(path.name + ".png")
        Image.fromarray(array[0].T * np.uint8(foreground)).save(file)
        return file
    file = path.with_name(path.name + ".nii.gz")
    affine = np.asarray(meta.get("file_affine", meta["original_affine"]))
    # MONAI's writer would drop or add dimensions: the mask has those of its image's file
    volume = nib.Nifti1Image(array[0].reshape(meta.get("file_shape", grid)), affine)
    volume.set_sform(affine, code=1)
    volume.set_qform(affine, code=1)
    volume.header.set_xyzt_units("mm")
    nib.save(volume, file)
    return file


class SaveMaskd(SaveImaged):
    """Write a binary mask: PNG (0 and 255) for pictures, NIfTI (0 and 1) with the image's affine for all else.

    The file is ``{output_dir}/{item[name_key]}{postfix}.png`` or ``.nii.gz``; its path is put into the item as
    ``{key}_file``. (A ``SaveImaged``, so that MONAI Label, which writes by itself, knows to leave it out.)

    Args:
        keys: keys of the masks, on the grid of their image, with the metadata of their image.
        output_dir: folder to write to.
        name_key: key of the item that holds the file's name without suffix; may contain folders.
        postfix: ending of the name.
        allow_missing_keys: pass over keys that an item does not have.
    """

    write: Callable[..., Path] = staticmethod(write_mask)

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: PathLike,
        name_key: str = "name",
        postfix: str = "_mask",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, output_dir=str(output_dir), allow_missing_keys=allow_missing_keys)
        self.output_dir = Path(output_dir)
        self.name_key = name_key
        self.postfix = postfix

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            path = self.output_dir / f"{d[self.name_key]}{self.postfix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            d[f"{key}_file"] = str(self.write(d[key], path))
        return d
