# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Grey images out of colour files."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

LUMA = (0.299, 0.587, 0.114)


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


class ToGreyd(MapTransform):
    """Dictionary version of :class:`ToGrey`.

    Args:
        keys: keys of the images.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.to_grey = ToGrey()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.to_grey(d[key])
        return d
