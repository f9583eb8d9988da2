# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""RGB images out of grey and transparent files."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform


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


class ToRGBd(MapTransform):
    """Dictionary version of :class:`ToRGB`.

    Args:
        keys: keys of the images.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.to_rgb = ToRGB()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.to_rgb(d[key])
        return d
