# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A page of slices to judge a volume's mask by."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, PathLike
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import SaveImaged
from monai.utils import convert_to_tensor
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries

from monai_semgan.transforms.axial import Axial
from monai_semgan.transforms.save_overlay import LABEL_COLOUR, MASK_COLOUR, to_rgb

# longer side of a slice on the page
TILE = 320


class SaveVolumePaged(SaveImaged):
    """Write a PNG page of axial slices with contours, evenly spaced through the mask, from feet to head.

    The mask is outlined in orange, the label (if there is one) in blue; each slice has its number, counted from 1 at
    the feet, and its reconstruction error, if "slice_errors" are there. An empty mask gives slices of the whole volume.
    The volume is read again, so that a run need not carry it along. The PNG's path is put into the item as
    "overlay_file". (A ``SaveImaged``, so that MONAI Label, which writes by itself, knows to leave it out.)

    Args:
        keys: key of the mask ``(1, ...)``, on the grid of its volume, with the metadata of its volume.
        output_dir: folder to write to.
        loading: makes of the item, with the volume's path as "image", the "image" to show, ``(1, row, column, slice)``
            in [-1, 1]; the part of the preprocessing that comes before :class:`FitInPlaned`.
        slices: number of slices at most.
        columns: slices side by side.
        label_key: key of a label on the volume's grid.
        name_key: key of the item that holds the file's name without suffix; may contain folders.
        postfix: ending of the name.

    Raises:
        ValueError: when ``slices`` or ``columns`` is below 1.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: PathLike,
        loading: Callable[[dict[Hashable, Any]], Mapping[Hashable, Any]],
        slices: int = 12,
        columns: int = 4,
        label_key: str = "label",
        name_key: str = "name",
        postfix: str = "_overlay",
    ) -> None:
        super().__init__(keys, output_dir=str(output_dir))
        if min(slices, columns) < 1:
            raise ValueError(f"slices={slices} and columns={columns} have to be 1 or more")
        self.output_dir = Path(output_dir)
        self.loading = loading
        self.slices = slices
        self.columns = columns
        self.label_key = label_key
        self.name_key = name_key
        self.postfix = postfix

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            volume = self.loading({**d, "image": d[key].meta["filename_or_obj"]})["image"]
            outlined = ((self.label_key, LABEL_COLOUR), (key, MASK_COLOUR))
            masks = [(axial(d[k], d[key].affine), colour) for k, colour in outlined if d.get(k) is not None]
            numbers = spread(masks[-1][0], self.slices)
            errors = d.get("slice_errors")
            captions = [f"slice {n + 1}" + (f", error {errors[n]:.3f}" if errors else "") for n in numbers]
            drawn = page(volume, masks, numbers, captions, self.columns)
            path = self.output_dir / f"{d[self.name_key]}{self.postfix}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn).save(path)
            d["overlay_file"] = str(path)
        return d


def axial(mask: torch.Tensor, affine: torch.Tensor) -> np.ndarray:
    """Bring a mask ``(1, ...)`` to Booleans ``(row, column, slice)``."""
    return Axial()(MetaTensor(convert_to_tensor(mask, track_meta=False), affine=affine))[0].numpy() > 0


def spread(mask: np.ndarray, number: int) -> list[int]:
    """Choose slices evenly spaced through a mask ``(row, column, slice)``, its first and its last among them."""
    slices = np.flatnonzero(mask.any((0, 1)))
    first, last = (slices[0], slices[-1]) if len(slices) else (0, mask.shape[-1] - 1)
    return np.unique(np.linspace(first, last, number).round().astype(int)).tolist()


def page(
    volume: MetaTensor,
    masks: list[tuple[np.ndarray, tuple[int, int, int]]],
    numbers: list[int],
    captions: list[str],
    columns: int,
) -> np.ndarray:
    """Draw slices with outlined masks in rows.

    Args:
        volume: ``(1, row, column, slice)`` in [-1, 1]; its affine gives the slices' proportions.
        masks: Booleans ``(row, column, slice)`` and their colours; later ones lie on top.
        numbers: indices of the slices.
        captions: a line for each.
        columns: slices side by side.

    Returns:
        RGB picture, ``(height, width, 3)``.
    """
    extent = np.multiply(volume.shape[1:3], affine_to_spacing(volume.affine.numpy(), 3)[:2])
    height, width = (max(1, round(TILE * float(side))) for side in extent / extent.max())
    columns = min(columns, len(numbers))
    sheet = Image.new("RGB", (columns * width, -(-len(numbers) // columns) * height))
    for place, (number, caption) in enumerate(zip(numbers, captions, strict=True)):
        tile = to_rgb(volume[..., number].numpy(), -1.0, 1.0, (width, height)).copy()
        for mask, colour in masks:
            resized = Image.fromarray(mask[..., number].astype(np.uint8)).resize(
                (width, height), Image.Resampling.NEAREST
            )
            tile[find_boundaries(np.asarray(resized))] = colour
        picture = Image.fromarray(tile)
        ImageDraw.Draw(picture).text((4, 2), caption, fill=(255, 255, 255))
        sheet.paste(picture, (place % columns * width, place // columns * height))
    return np.asarray(sheet)
