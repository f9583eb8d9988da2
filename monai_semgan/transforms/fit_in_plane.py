# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Axial slices of any shape and pixel size on a network's square, not squashed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import Invertd, InvertibleTransform, MapTransform
from monai.utils import TraceKeys, convert_to_dst_type, convert_to_tensor, ensure_tuple_rep

from monai_semgan.networks.label_map import decided, resized_label
from monai_semgan.transforms.modality import threshold_of

MODES = ("bilinear", "nearest", "label")


class FitInPlane(InvertibleTransform):
    r"""Scale each slice so that its longer side, in millimetres, fills a square, and pad the shorter one on both sides.

    Pixels become square, slices are not mixed. A slice of r x c pixels, :math:`s_r` x :math:`s_c` mm each, gets pixels
    of :math:`p = \max(r s_r, c s_c) / \mathrm{size}`. If its shape does not change by that (square pixels and a longer
    side of ``size``) the values stay as they are. Shrinking is antialiased. The inverse cuts the padding off and scales
    back to the very shape; ``Invertd(nearest_interp=True)`` does so with the nearest neighbour, and
    :class:`InvertDecidedd` decides each slice at once.

    Args:
        size: side of the square in pixels.
        mode: "bilinear" for images, "nearest" for masks, "label" for class indices: a pixel gets the class of the
            largest share.
        value: value of the padding, by default the volume's minimum.
        enlarge: whether to enlarge slices that are smaller; otherwise p is at least the smaller of the two spacings, so
            that slices with square pixels up to the size are padded only.
        fill: share of the square's side that the longer side fills; less than 1 for scanners whose field of view is cut
            closer to the body than that of the training's.

    Raises:
        ValueError: when the size is below 1, the mode unknown or the share outside of (0, 1].
    """

    def __init__(
        self, size: int, mode: str = "bilinear", value: float | None = None, enlarge: bool = True, fill: float = 1.0
    ) -> None:
        if size < 1:
            raise ValueError(f"size is {size}, it has to be 1 or more")
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}, known are {MODES}")
        if not 0 < fill <= 1:
            raise ValueError(f"fill is {fill}, it must be above 0 and at most 1")
        self.size = size
        self.fill = fill
        self.mode = mode
        self.value = value
        self.enlarge = enlarge

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: volume ``(C, row, column, slice)``; without an affine its pixels are taken as square.

        Returns:
            The volume ``(C, size, size, slice)`` in floating point. Its affine follows.

        Raises:
            ValueError: when the image is no volume.
        """
        if img.ndim != 4:
            raise ValueError(f"image of shape {tuple(img.shape)} is no volume: (channel, row, column, slice) expected")
        image = convert_to_tensor(img, track_meta=True, dtype=torch.promote_types(img.dtype, torch.float32))
        assert isinstance(image, MetaTensor)
        shape = tuple(image.shape[1:3])
        fitted = self.fitted_shape(shape, affine_to_spacing(image.affine.numpy(), 3)[:2])
        start = [(self.size - side) // 2 for side in fitted]
        values = image.as_tensor()
        out = values.new_full(
            (len(values), self.size, self.size, values.shape[-1]),
            # torch would copy a large volume for its least value
            float(values.numpy().min()) if self.value is None else self.value,
        )
        resize_slices(values, cut(out, start, fitted), self.mode)
        to_stored = np.eye(4)
        for axis in (0, 1):
            ratio = shape[axis] / fitted[axis]
            to_stored[axis, axis] = ratio
            to_stored[axis, 3] = (0.5 - start[axis]) * ratio - 0.5
        return self.push_transform(
            convert_to_dst_type(out, image)[0],
            orig_size=image.shape[1:],
            affine=torch.as_tensor(to_stored),
            # Invertd looks for "mode"
            extra_info={"mode": self.mode, "start": start, "fitted": fitted, "affine": image.affine.tolist()},
        )

    def fitted_shape(self, shape: Sequence[int], spacing: np.ndarray) -> list[int]:
        """Give the rows and columns that slices of a shape and a spacing in mm take on the square."""
        extent = np.multiply(shape, spacing)
        pixel = extent.max() / (self.size * self.fill)
        if not self.enlarge:
            pixel = max(pixel, spacing.min())
        return [int(side) for side in np.clip(np.rint(extent / pixel), 1, self.size)]

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """Bring a volume on the square back to the shape of the slices it was made from, decided where asked to."""
        transform = self.pop_transform(data)
        info = transform[TraceKeys.EXTRA_INFO]
        values = convert_to_tensor(data, track_meta=False)
        rows, columns = transform[TraceKeys.ORIG_SIZE][:2]
        threshold = info.get("threshold")
        # a slice after the other in memory
        shape = (values.shape[-1], len(values) if threshold is None else 1, rows, columns)
        out = values.new_empty(shape, dtype=values.dtype if threshold is None else torch.uint8).movedim(0, -1)
        resize_slices(cut(values, info["start"], info["fitted"]), out, info["mode"], threshold)
        inverted = convert_to_dst_type(out, data, dtype=out.dtype)[0]
        if isinstance(inverted, MetaTensor):
            inverted.affine = torch.tensor(info["affine"], dtype=torch.float64)
        return inverted


def cut(volume: torch.Tensor, start: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
    """View a rectangle of all slices."""
    return volume[:, start[0] : start[0] + shape[0], start[1] : start[1] + shape[1]]


def resize_slices(source: torch.Tensor, target: torch.Tensor, mode: str, threshold: float | None = None) -> None:
    """Fill ``target`` with ``source``, both ``(C, row, column, slice)``; slice by slice, which takes little memory.

    With a threshold, the target gets the class indices that the source's probabilities decide; see
    :func:`monai_semgan.networks.label_map.decided`.
    """
    size = target.shape[1:3]
    how: dict[str, Any] = {"mode": "nearest-exact"} if mode == "nearest" else {"mode": "bilinear", "antialias": True}
    for index in range(source.shape[-1]):
        values = source[..., index]
        if mode == "label":
            values = resized_label(values, size, **how)
        elif source.shape[1:3] != size:
            values = F.interpolate(values[None], size, **how)[0]
        target[..., index] = values if threshold is None else decided(values, threshold)


class FitInPlaned(MapTransform, InvertibleTransform):
    """Dictionary version of :class:`FitInPlane`.

    Args:
        keys: keys of the volumes.
        size: side of the square in pixels.
        mode: "bilinear" for images, "nearest" for masks, "label" for class indices; one for all keys or one for each.
        value: value of the padding, by default each volume's minimum; one for all keys or one for each.
        enlarge: whether to enlarge slices that are smaller.
        fill: share of the square's side that the longer side fills.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: int,
        mode: str | Sequence[str] = "bilinear",
        value: float | None | Sequence[float | None] = None,
        enlarge: bool = True,
        fill: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        settings = zip(ensure_tuple_rep(mode, len(self.keys)), ensure_tuple_rep(value, len(self.keys)))
        self.fits = [FitInPlane(size, key_mode, key_value, enlarge, fill) for key_mode, key_value in settings]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key, fit in self.key_iterator(d, self.fits):
            d[key] = fit(d[key])
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key, fit in self.key_iterator(d, self.fits):
            d[key] = fit.inverse(d[key])
        return d


class InvertDecidedd(Invertd):
    """MONAI's ``Invertd`` for masks of large volumes: :class:`FitInPlane` decides each slice when it has its size.

    A mask takes a quarter of the memory of probabilities. The result is that of a decision after the inversion, which
    has to follow where nothing is fitted.

    Args:
        keys: keys of the probabilities on the network's grid.
        transform: what the volumes went through.
        orig_keys: keys of the volumes that went through it.
        thresholds: the probability from which a voxel is foreground, by the name of the modality; or one for all. Of
            several classes the likeliest counts.
        modality: that of items that do not name theirs, and whose file does not.
    """

    def __init__(
        self,
        keys: KeysCollection,
        transform: InvertibleTransform,
        orig_keys: KeysCollection,
        thresholds: Mapping[str, float] | float,
        modality: str,
    ) -> None:
        super().__init__(keys, transform, orig_keys, nearest_interp=False)
        self.thresholds = thresholds
        self.modality = modality

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        threshold = threshold_of(d, self.thresholds, self.modality)
        for _, orig_key in self.key_iterator(d, self.orig_keys):
            # the volume's own traces stay, for its probabilities
            d[orig_key] = d[orig_key].clone()
            for trace in d[orig_key].applied_operations:
                if trace[TraceKeys.CLASS_NAME] == FitInPlane.__name__:
                    trace[TraceKeys.EXTRA_INFO]["threshold"] = threshold
        return {**data, **{key: value for key, value in super().__call__(d).items() if key in self.keys}}
