# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Two-dimensional images as a screen shows them: upright, grey or RGB, and without the frame around the picture."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor, to_affine_nd
from monai.transforms import (
    HistogramNormalized,
    InvertibleTransform,
    MapTransform,
    ScaleIntensityRange,
    ScaleIntensityRangePercentilesd,
    Transform,
)
from monai.utils import TraceKeys, convert_to_tensor
from scipy import ndimage

from monai_semgan.formats.registry import Outside

LUMA = (0.299, 0.587, 0.114)
# a line of pixels belongs to a frame when this share of it is of one level, within this part of the image's range
FLAT, LEVEL = 0.9, 0.03
# share of the largest value up to which a margin is black, level from which it is white, and how exact any other one is
BLACK, WHITE, EXACT = 0.12, 0.85, 0.006
# share of an image's side from which a margin is a frame: the air beside a body is black as well, nothing is white
DARK_MARGIN, BRIGHT_MARGIN = 0.06, 0.02
# sides in pixels below which nothing is looked for
SMALLEST = 32
# pieces of less than this share of the largest one's pixels are letters and rulers in a margin
PIECE = 0.05
# share of a line's pixels that noise may change
NOISE = 0.02
# share of an image that is left within a frame, and how many frames may lie in each other
LEFT, NESTED = 0.15, 3
# longest side on which a frame is looked for, in pixels
LOOKED_AT = 1024


def display_order(affine: np.ndarray) -> tuple[tuple[int, ...], bool]:
    """Tell how a stored 2-D image is brought to the display.

    Screens draw columns towards the patient's left and rows towards the feet (towards the back in an axial plane).
    An affine whose first axis runs along x and whose second runs along y, both in the positive direction, says
    nothing of the kind: pictures come with such a one, and so do NIfTI files made of pictures. It is taken as a
    picture's: stored column by column from the upper left.

    Args:
        affine: 4x4 matrix from (first index, second index, 0) to RAS millimetres.

    Returns:
        The stored axes to flip (0, 1 or both), and whether the first stored axis runs along the display's columns.
    """
    plane = np.asarray(affine, dtype=np.float64)[:3, :2]
    world = np.abs(plane).argmax(axis=0)
    positive = plane[world, [0, 1]] > 0
    if world[0] == world[1] or (tuple(world) == (0, 1) and positive.all()):
        return (), True
    return tuple(np.flatnonzero(positive).tolist()), bool(world[0] < world[1])


class DisplayOrder(InvertibleTransform):
    """Bring a 2-D image, stored as MONAI's readers give it, to ``(C, row, column)`` as it is displayed.

    The inverse brings a result, such as a mask, back to the order of the file. See :func:`display_order`.
    """

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: channel-first image ``(C, first index, second index)``; without an affine it is taken as a picture.

        Returns:
            The upright image, rows first. Its affine follows.

        Raises:
            ValueError: when the image is not 2-D.
        """
        if img.ndim != 3:
            raise ValueError(f"image of shape {tuple(img.shape)} is not 2-D: (channel, column, row) is expected")
        image = convert_to_tensor(img, track_meta=True)
        assert isinstance(image, MetaTensor)
        flips, columns_first = display_order(to_affine_nd(3, image.affine.numpy()))
        steps = [-1 if axis in flips else 1 for axis in (0, 1)]
        orientation = np.array([[1, steps[0]], [0, steps[1]]] if columns_first else [[0, steps[0]], [1, steps[1]]])
        to_stored = nib.orientations.inv_ornt_aff(orientation, image.shape[1:])
        out = image.flip([axis + 1 for axis in flips])
        out = out.transpose(1, 2) if columns_first else out
        assert isinstance(out, MetaTensor)
        if (outside := image.meta.get("outside")) is not None:
            values = np.flip(outside.values, flips)
            out.meta["outside"] = Outside(values.T if columns_first else values)
        return self.push_transform(
            out.contiguous(),
            orig_size=image.shape[1:],
            affine=torch.as_tensor(to_affine_nd(3, to_stored)),
            extra_info={"flips": flips, "columns_first": columns_first, "affine": image.affine.tolist()},
        )

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """Bring an upright image back to the order of the file it was made from."""
        info = self.pop_transform(data)[TraceKeys.EXTRA_INFO]
        out = data.transpose(1, 2) if info["columns_first"] else data
        out = out.flip([axis + 1 for axis in info["flips"]]).contiguous()
        if isinstance(out, MetaTensor):
            out.affine = torch.tensor(info["affine"], dtype=torch.float64)
        return out


class PlainMapTransform(MapTransform):
    """Dictionary version of a transform that has no settings, which a subclass names.

    Args:
        keys: keys of the images.
        allow_missing_keys: pass over keys that an item does not have.
    """

    transform: ClassVar[type]

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.plain = self.transform()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.plain(d[key])
        return d


class DisplayOrderd(PlainMapTransform, InvertibleTransform):
    """Dictionary version of :class:`DisplayOrder`; its arguments are those of ``MapTransform``."""

    transform = DisplayOrder

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.plain.inverse(d[key])
        return d


class ToGrey(Transform):
    r"""Turn an RGB or RGBA image into a grey one, :math:`Y = 0.299 R + 0.587 G + 0.114 B` (ITU-R BT.601).

    Many radiographs are stored as RGB with three equal channels: these keep their values exactly. Alpha is dropped.
    """

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: channel-first image ``(1, 3 or 4, ...)``.

        Returns:
            The grey image ``(1, ...)``; a one-channel image comes back as it is.

        Raises:
            ValueError: when the image has another number of channels.
        """
        if img.shape[0] == 1:
            return img
        if img.shape[0] not in (3, 4):
            raise ValueError(f"image has {img.shape[0]} channels: grey is made of 1 (grey), 3 (RGB) or 4 (RGBA)")
        red, green, blue = img[0:1], img[1:2], img[2:3]
        if torch.equal(red, green) and torch.equal(red, blue):
            return red
        return red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]


class ToGreyd(PlainMapTransform):
    """Dictionary version of :class:`ToGrey`; its arguments are those of ``MapTransform``."""

    transform = ToGrey


class ToRGB(Transform):
    """Turn a grey or RGBA image into an RGB one: grey gives three equal channels, alpha is dropped."""

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: channel-first image ``(1, 3 or 4, ...)``.

        Returns:
            The RGB image ``(3, ...)``; a three-channel image comes back as it is.

        Raises:
            ValueError: when the image has another number of channels.
        """
        if img.shape[0] not in (1, 3, 4):
            raise ValueError(f"image has {img.shape[0]} channels: RGB is made of 1 (grey), 3 (RGB) or 4 (RGBA)")
        return img.repeat_interleave(3, dim=0) if img.shape[0] == 1 else img[:3]


class ToRGBd(PlainMapTransform):
    """Dictionary version of :class:`ToRGB`; its arguments are those of ``MapTransform``."""

    transform = ToRGB


class ContentFrame(InvertibleTransform):
    """Cut an upright image to the picture within its frame, so that nothing else counts in its statistics.

    The frame is whatever the file says is no intensity (``meta["outside"]``, such as padding and shutters of DICOM),
    and bars, borders and margins that :func:`content_box` finds. ``meta["frame"]`` has first and last row and column,
    and what remains in it of ``outside`` stays in the metadata. The inverse puts a result back into the frame, 0
    outside.
    """

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: upright image ``(C, row, column)``.

        Returns:
            The picture within the frame; all of the image where it has none.
        """
        image = convert_to_tensor(img, track_meta=True)
        assert isinstance(image, MetaTensor)
        outside = image.meta.get("outside")
        hidden = None if outside is None else outside.values
        grey = image.as_tensor().mean(0).numpy()
        top, bottom, left, right = box = framed(grey, hidden)
        shape = image.shape[1:]
        out = image[:, top:bottom, left:right]
        assert isinstance(out, MetaTensor)
        out.meta.pop("outside", None)
        if hidden is not None and (rest := hidden[top:bottom, left:right]).any():
            out.meta["outside"] = Outside(rest)
        if hidden is None and box != (0, shape[0], 0, shape[1]):
            told = f"it has a frame, left out: the picture is rows {top + 1} to {bottom}, columns {left + 1} to {right}"
            out.meta["warnings"] = [*out.meta.get("warnings", ()), told]
        out.meta["frame"] = box
        to_stored = np.eye(3)
        to_stored[:2, 2] = top, left
        return self.push_transform(
            out,
            orig_size=shape,
            affine=torch.as_tensor(to_stored),
            extra_info={"frame": box, "outside": out.meta.get("outside"), "affine": image.affine.tolist()},
        )

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """Put a result back into the frame of the image."""
        transform = self.pop_transform(data)
        info = transform[TraceKeys.EXTRA_INFO]
        top, bottom, left, right = info["frame"]
        inside = data
        if info["outside"] is not None:
            inside = data * torch.as_tensor(~info["outside"].values)
        out = F.pad(
            inside, (left, transform[TraceKeys.ORIG_SIZE][1] - right, top, transform[TraceKeys.ORIG_SIZE][0] - bottom)
        )
        if isinstance(out, MetaTensor):
            out.affine = torch.tensor(info["affine"], dtype=torch.float64)
        return out


class ContentFramed(PlainMapTransform, InvertibleTransform):
    """Dictionary version of :class:`ContentFrame`; its arguments are those of ``MapTransform``."""

    transform = ContentFrame

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.plain.inverse(d[key])
        return d


class SameFramed(MapTransform):
    """Cut upright labels as :class:`ContentFramed` cut their image.

    Args:
        keys: keys of the labels, ``(C, row, column)``, as large as the image was.
        image_key: key of the image.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(self, keys: KeysCollection, image_key: str = "image", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            top, bottom, left, right = d[self.image_key].meta["frame"]
            d[key] = d[key][:, top:bottom, left:right]
        return d


def framed(grey: np.ndarray, hidden: np.ndarray | None) -> tuple[int, int, int, int]:
    """Find the picture in an image: its first row, the row after its last, and the same of its columns."""
    top, left = 0, 0
    bottom, right = grey.shape
    if hidden is not None and not hidden.all():
        shown_rows, shown_columns = (np.flatnonzero(~hidden.all(axis)) for axis in (1, 0))
        top, bottom, left, right = shown_rows[0], shown_rows[-1] + 1, shown_columns[0], shown_columns[-1] + 1
    box = content_box(grey[top:bottom, left:right])
    return int(top + box[0]), int(top + box[1]), int(left + box[2]), int(left + box[3])


def content_box(image: np.ndarray) -> tuple[int, int, int, int]:
    """Find the picture within bars, borders and margins of one level, with or without letters in them.

    A margin is a side of the image whose outermost line is of one level, up to where something larger than letters
    begins. A black margin has to be wide, as air beside a body is black too. Frames within frames are found one by one.

    Args:
        image: grey values ``(row, column)``.

    Returns:
        First row, row after the last, first column, column after the last.
    """
    height, width = image.shape
    step = -(-max(image.shape) // LOOKED_AT)
    small = image[::step, ::step].astype(np.float64)
    low, high = small.min(), small.max()
    span = max(high - low, 1e-12)
    levels = (small - low) / span
    # of values that begin at 0; others tell only by their range
    black = BLACK if low < 0 else (BLACK * high - low) / span
    top, bottom, left, right = 0, levels.shape[0], 0, levels.shape[1]
    for _ in range(NESTED):
        above, below, before, after = margins(levels[top:bottom, left:right], black)
        top, bottom, left, right = top + above, bottom - below, left + before, right - after
        if not above + below + before + after:
            break
    # a line that was not looked at may be the picture's
    ends = [min(end * step, side) for end, side in ((bottom, height), (right, width))]
    return top * step, ends[0], left * step, ends[1]


def margins(levels: np.ndarray, black: float) -> tuple[int, int, int, int]:
    """Find the widths of the margins above, below, before and after the picture in levels from 0 to 1.

    Margins that are neither white nor, up to the level ``black``, black have to be of one value: pictures are smooth.
    """
    height, width = levels.shape
    found = [0, 0, 0, 0]
    if min(height, width) < SMALLEST:
        return 0, 0, 0, 0
    lines = (levels[0], levels[-1], levels[:, 0], levels[:, -1])
    usual = [float(np.median(line)) for line in lines]
    flat = [(np.abs(line - level) <= LEVEL).mean() >= FLAT for line, level in zip(lines, usual)]
    for level in {round(level, 2) for level, is_flat in zip(usual, flat) if is_flat}:
        pieces, _ = ndimage.label(np.abs(levels - level) > LEVEL, np.ones((3, 3)))
        sizes = np.bincount(pieces.ravel())[1:]
        if not len(sizes):
            continue
        picture = np.isin(pieces, 1 + np.flatnonzero(sizes >= PIECE * sizes.max()))
        # noise of a line of paper beside it may be connected to it
        rows, columns = (np.flatnonzero(picture.mean(axis) >= NOISE) for axis in (1, 0))
        if not len(rows) or not len(columns):
            continue
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        if (bottom - top) * (right - left) < LEFT * levels.size:
            continue
        least = DARK_MARGIN if level < 0.5 else BRIGHT_MARGIN
        plain = black < level < WHITE
        sides = (levels[:top], levels[bottom:], levels[:, :left], levels[:, right:])
        for side, (size, margin) in enumerate(
            zip((height, height, width, width), (top, height - bottom, left, width - right))
        ):
            if not flat[side] or abs(usual[side] - level) > LEVEL or margin < least * size:
                continue
            if not plain or (np.abs(sides[side] - usual[side]) <= EXACT).mean() >= FLAT:
                found[side] = max(found[side], int(margin))
    return found[0], found[1], found[2], found[3]


def outside_of(img: torch.Tensor) -> torch.Tensor | None:
    """The pixels of an image ``(C, row, column)`` that hold no intensity, on its own grid; None where all do."""
    outside = img.meta.get("outside") if isinstance(img, MetaTensor) else None
    if outside is None:
        return None
    share = F.interpolate(torch.as_tensor(outside.values.copy())[None, None].float(), img.shape[1:], mode="area")
    return share[0, 0] > 0.25


class ScaleInsided(ScaleIntensityRangePercentilesd):
    """``ScaleIntensityRangePercentilesd`` by the pixels that hold intensities; all others become ``b_min``."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            outside = outside_of(d[key])
            if outside is None:
                d[key] = self.scaler(d[key])
                continue
            inside = d[key].as_tensor()[:, ~outside].numpy()
            low, high = np.percentile(inside, [self.scaler.lower, self.scaler.upper])
            bottom = self.scaler.b_min
            d[key] = ScaleIntensityRange(low, high, bottom, self.scaler.b_max, self.scaler.clip)(d[key])
            d[key][:, outside] = low if bottom is None else bottom
        return d


class EqualiseInsided(HistogramNormalized):
    """``HistogramNormalized`` by the pixels that hold intensities; all others become ``min``."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            outside = outside_of(d[key])
            if outside is None:
                d[key] = self.transform(d[key])
                continue
            d[key] = self.transform(d[key], (~outside)[None].expand(d[key].shape).numpy())
            d[key][:, outside] = self.transform.min
        return d
