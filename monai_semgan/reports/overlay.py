# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Pictures to judge a mask by: contours on the image, and what the network took the image for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from PIL import Image, ImageDraw

LABEL_COLOUR = (0, 200, 255)
SMALLEST, LARGEST = 256, 1024
# longer side of a tile of a thumbnail
THUMBNAIL = 192
# longer side of a slice on a page
TILE = 320
# height of a line of text
CAPTION = 16

Colour = tuple[int, ...]


def black_and_white(image: np.ndarray) -> tuple[float, float]:
    """Tell which values of an image are drawn black and white.

    Args:
        image: ``(1, 3 or 4, H, W)``.

    Returns:
        Of a grey image its 0.5th and 99.5th percentiles. Of colours 0 and 1, 255 or 65535, the least that none exceeds,
        so that they look as they are stored; where they have no such scale the least and the greatest value.
    """
    if len(image) == 1:
        low, high = np.percentile(image, [0.5, 99.5])
        return float(low), float(high)
    low, high = float(image.min()), float(image.max())
    tops = [top for top in (1, 255, 65535) if high <= top]
    return (0.0, float(tops[0])) if low >= 0 and tops else (low, high)


def to_rgb(image: np.ndarray, low: float, high: float, size: tuple[int, int]) -> np.ndarray:
    """Draw ``(1, 3 or 4, H, W)`` values from ``low`` (black) to ``high`` (white) as an RGB tile of (width, height)."""
    levels = np.clip((image - low) / max(high - low, 1e-12), 0, 1) * 255
    # grey is resized as one channel
    pixels = levels[:3].round().astype(np.uint8).transpose(1, 2, 0)
    return fitted(Image.fromarray(pixels[..., 0] if len(levels) == 1 else pixels), size)


def fitted(picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Resize a picture to (width, height), RGB."""
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR).convert("RGB"))


def borders(mask: np.ndarray) -> np.ndarray:
    """Find the pixels on both sides of a mask's border ``(H, W)``; beyond the image is no mask."""
    padded = np.pad(mask, 1)
    found = np.zeros_like(padded)
    for axis in (0, 1):
        along = found.swapaxes(0, axis)
        differs = np.diff(padded, axis=axis).swapaxes(0, axis)
        along[1:] |= differs
        along[:-1] |= differs
    return found[1:-1, 1:-1]


def outline(tile: np.ndarray, masks: Sequence[tuple[np.ndarray, Colour]]) -> np.ndarray:
    """Draw the borders of masks ``(H, W)`` on a copy of a tile, opaque and two pixels wide; later ones lie on top."""
    outlined = tile.copy()
    size = (tile.shape[1], tile.shape[0])
    for mask, colour in masks:
        resized = Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
        outlined[borders(np.asarray(resized, dtype=bool))] = colour
    return outlined


def tiles(
    image: np.ndarray, masks: Sequence[tuple[np.ndarray, Colour]], reconstruction: np.ndarray | None = None
) -> list[np.ndarray]:
    """Draw the image, the image with contours, and the reconstruction if there is one; see :func:`overlay`."""
    height, width = image.shape[1:]
    scale = min(max(1.0, SMALLEST / max(height, width)), LARGEST / max(height, width))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    plain = to_rgb(image, *black_and_white(image), size)
    drawn = [] if reconstruction is None else [to_rgb(reconstruction, -1.0, 1.0, size)]
    return [plain, outline(plain, masks), *drawn]


def overlay(
    image: np.ndarray,
    masks: Sequence[tuple[np.ndarray, Colour]],
    reconstruction: np.ndarray | None = None,
    caption: str = "",
) -> np.ndarray:
    """Draw two or three tiles side by side: the image, the image with contours, the reconstruction if there is one.

    Tiles have the image's size, scaled where its longer side is not within 256 to 1024 pixels.

    Args:
        image: ``(1, 3 or 4, H, W)``, any range: see :func:`black_and_white`.
        masks: masks ``(H, W)`` to outline, and their colours; later ones lie on top.
        reconstruction: ``(1 or 3, h, w)`` in [-1, 1]; stretched to the tile.
        caption: text below the tiles; none by default.

    Returns:
        RGB picture, ``(height, width, 3)``.
    """
    return side_by_side(tiles(image, masks, reconstruction), caption)


def side_by_side(parts: Sequence[np.ndarray], caption: str = "") -> np.ndarray:
    """Put tiles of one size beside each other, with text below them, if there is any."""
    picture = np.concatenate(parts, axis=1)
    if not caption:
        return picture
    sheet = Image.new("RGB", (picture.shape[1], picture.shape[0] + CAPTION))
    sheet.paste(Image.fromarray(picture))
    ImageDraw.Draw(sheet).text((4, picture.shape[0] + 2), caption, fill=(255, 255, 255))
    return np.asarray(sheet)


def thumbnail(parts: Sequence[np.ndarray], masks: Sequence[tuple[np.ndarray, Colour]]) -> np.ndarray:
    """Draw :func:`tiles` small, without the first: the image with contours as wide as there, and the reconstruction."""
    plain, _, *drawn = parts
    height, width = plain.shape[:2]
    scale = THUMBNAIL / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = [fitted(Image.fromarray(part), size) for part in (plain, *drawn)]
    return side_by_side([outline(small[0], masks), *small[1:]])


def spread(mask: np.ndarray, number: int) -> list[int]:
    """Choose slices evenly spaced through a mask ``(row, column, slice)``, its first and its last among them."""
    slices = np.flatnonzero(mask.any((0, 1)))
    first, last = (slices[0], slices[-1]) if len(slices) else (0, mask.shape[-1] - 1)
    return np.unique(np.linspace(first, last, number).round().astype(int)).tolist()


def page(
    volume: MetaTensor,
    masks: Sequence[tuple[np.ndarray, Colour]],
    notes: Sequence[str] = (),
    slices: int = 12,
    columns: int = 4,
    tile: int = TILE,
    through: np.ndarray | None = None,
) -> np.ndarray:
    """Draw axial slices with outlined masks in rows, evenly spaced through a mask, from feet to head.

    Each slice has its number, counted from 1 at the feet, and what is known of it. An empty mask gives slices of the
    whole volume.

    Args:
        volume: ``(1, row, column, slice)`` in [-1, 1]; its affine gives the slices' proportions.
        masks: Booleans ``(row, column, slice)`` and their colours; later ones lie on top.
        notes: what is written after each slice's number; none by default.
        slices: number of slices at most.
        columns: slices side by side.
        tile: longer side of a slice, in pixels.
        through: mask ``(row, column, slice)`` that the slices are of; the last of those drawn by default.

    Returns:
        RGB picture, ``(height, width, 3)``.
    """
    numbers = spread(masks[-1][0] if through is None else through, slices)
    extent = np.multiply(volume.shape[1:3], affine_to_spacing(volume.affine.numpy(), 3)[:2])
    height, width = (max(1, round(tile * float(side))) for side in extent / extent.max())
    columns = min(columns, len(numbers))
    sheet = Image.new("RGB", (columns * width, -(-len(numbers) // columns) * height))
    for place, number in enumerate(numbers):
        plain = to_rgb(volume[..., number].numpy(), -1.0, 1.0, (width, height))
        picture = Image.fromarray(outline(plain, [(mask[..., number], colour) for mask, colour in masks]))
        caption = ", ".join([f"slice {number + 1}", *filter(None, notes[number : number + 1])])
        ImageDraw.Draw(picture).text((4, 2), caption, fill=(255, 255, 255))
        sheet.paste(picture, (place % columns * width, place // columns * height))
    return np.asarray(sheet)
