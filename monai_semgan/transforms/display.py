# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Two-dimensional images as a screen shows them: upright, and grey or RGB, whatever their files store."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor, to_affine_nd
from monai.transforms import InvertibleTransform, MapTransform, Transform
from monai.utils import TraceKeys, convert_to_tensor

LUMA = (0.299, 0.587, 0.114)


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
