# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Pictures to judge a mask by: the image, the mask's contour on it, and what the network took the image for."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, PathLike
from monai.data import ImageReader, MetaTensor
from monai.transforms import LoadImage, SaveImaged
from monai.utils import convert_to_tensor
from PIL import Image
from skimage.segmentation import find_boundaries

from monai_semgan.transforms.display_order import DisplayOrder

MASK_COLOUR = (255, 128, 0)
LABEL_COLOUR = (0, 200, 255)
SMALLEST, LARGEST = 256, 1024


class SaveOverlayd(SaveImaged):
    """Write a PNG of two or three tiles: image, image with contours, reconstruction (if there is one).

    The mask is outlined in orange, the label (if there is one) in blue. Tiles have the image's size, scaled where its
    longer side is not within 256 to 1024 pixels. The image is read again, so that a run need not carry full-size
    images along. The PNG's path is put into the item as "overlay_file". (A ``SaveImaged``, so that MONAI Label, which
    writes by itself, knows to leave it out.)

    Args:
        keys: key of the mask, on the grid of its image, with the metadata of its image.
        output_dir: folder to write to.
        reader: reader of the images.
        label_key: key of a label on the image's grid.
        reconstruction_key: key of the reconstruction in [-1, 1], upright.
        name_key: key of the item that holds the file's name without suffix; may contain folders.
        postfix: ending of the name.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: PathLike,
        reader: ImageReader,
        label_key: str = "label",
        reconstruction_key: str = "reconstruction",
        name_key: str = "name",
        postfix: str = "_overlay",
    ) -> None:
        super().__init__(keys, output_dir=str(output_dir))
        self.output_dir = Path(output_dir)
        self.load = LoadImage(reader=reader, ensure_channel_first=True)
        self.label_key = label_key
        self.reconstruction_key = reconstruction_key
        self.name_key = name_key
        self.postfix = postfix

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            image = self.load(d[key].meta["filename_or_obj"])
            outlined = ((self.label_key, LABEL_COLOUR), (key, MASK_COLOUR))
            masks = [(upright(d[k], image)[0] > 0, colour) for k, colour in outlined if d.get(k) is not None]
            reconstruction = d.get(self.reconstruction_key)
            if reconstruction is not None:
                reconstruction = convert_to_tensor(reconstruction, track_meta=False).numpy()
            path = self.output_dir / f"{d[self.name_key]}{self.postfix}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(overlay(upright(image, image), masks, reconstruction)).save(path)
            d["overlay_file"] = str(path)
        return d


def upright(array: torch.Tensor, image: MetaTensor) -> np.ndarray:
    """Bring an array on the grid of an image, with or without channel, to ``(C, row, column)`` as displayed."""
    grid = tuple(image.shape[1:])
    if tuple(array.shape[-len(grid) :]) != grid:
        raise ValueError(f"label or mask of {tuple(array.shape[-len(grid) :])} does not fit the image of {grid} pixels")
    channels = convert_to_tensor(array, track_meta=False).reshape(-1, *grid)
    return DisplayOrder()(MetaTensor(channels, affine=image.affine)).numpy()


def to_rgb(image: np.ndarray, low: float, high: float, size: tuple[int, int]) -> np.ndarray:
    """Draw ``(1, 3 or 4, H, W)`` values from ``low`` (black) to ``high`` (white) as an RGB tile of (width, height)."""
    levels = np.clip((image - low) / max(high - low, 1e-12), 0, 1) * 255
    levels = np.repeat(levels, 3, axis=0) if levels.shape[0] == 1 else levels[:3]
    picture = Image.fromarray(levels.round().astype(np.uint8).transpose(1, 2, 0))
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR))


def overlay(
    image: np.ndarray, masks: list[tuple[np.ndarray, tuple[int, int, int]]], reconstruction: np.ndarray | None = None
) -> np.ndarray:
    """Draw the tiles side by side.

    Args:
        image: ``(1, 3 or 4, H, W)``, any range: drawn from its 0.5th to its 99.5th percentile.
        masks: masks ``(H, W)`` to outline, and their colours; later ones lie on top.
        reconstruction: ``(1 or 3, h, w)`` in [-1, 1]; stretched to the tile.

    Returns:
        RGB picture, ``(height, width, 3)``.
    """
    height, width = image.shape[1:]
    scale = min(max(1.0, SMALLEST / max(height, width)), LARGEST / max(height, width))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    low, high = np.percentile(image, [0.5, 99.5])
    tile = to_rgb(image, low, high, size)
    outlined = tile.copy()
    for mask, colour in masks:
        # both sides of the border: two pixels wide
        resized = np.asarray(Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
        outlined[find_boundaries(resized, mode="thick")] = colour
    tiles = [tile, outlined]
    if reconstruction is not None:
        tiles.append(to_rgb(reconstruction, -1.0, 1.0, size))
    return np.concatenate(tiles, axis=1)
