# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Masks of 0 and 1, whatever value their files use for the foreground."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_tensor


class BinaryMask(Transform):
    """Turn a mask of 0 and one other value (1, 255, ...) into one of 0 and 1."""

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: channel-first mask ``(1, ...)``.

        Returns:
            The mask as float 0 and 1.

        Raises:
            ValueError: when the mask has several channels, or values other than 0 and one more.
        """
        if img.shape[0] != 1:
            raise ValueError(f"mask has {img.shape[0]} channels, 1 expected")
        values = torch.unique(convert_to_tensor(img, track_meta=False))
        foreground = values[values != 0]
        if len(foreground) > 1 or (foreground < 0).any() or not torch.isfinite(values).all():
            shown = ", ".join(f"{value:g}" for value in values[:5].tolist())
            raise ValueError(f"mask is not binary, it has {len(values)} values ({shown}, ...): 0 and one expected")
        return (img != 0).float()


class BinaryMaskd(MapTransform):
    """Dictionary version of :class:`BinaryMask`.

    Args:
        keys: keys of the masks.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.binary_mask = BinaryMask()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.binary_mask(d[key])
        return d
