# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Volumes as a stack of axial slices, whatever order their files store them in."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform, Orientation

# rows to the back, columns to the left, slices to the head
AXIAL = "PLS"


class Axial(Orientation):
    """Bring a volume to ``(C, row, column, slice)`` as radiologists see axial slices.

    Rows run towards the patient's back, columns towards the left, slices from feet to head. Axes are permuted and
    flipped to the nearest anatomical ones, nothing is resampled, so that the inverse is exact; an oblique volume stays
    oblique. MONAI's ``Orientation`` with these axes.
    """

    def __init__(self) -> None:
        super().__init__(axcodes=AXIAL, labels=(("L", "R"), ("P", "A"), ("I", "S")))

    def __call__(self, data_array: torch.Tensor, lazy: bool | None = None) -> torch.Tensor:
        """
        Args:
            data_array: channel-first volume ``(C, ...)`` with three spatial dimensions, a ``MetaTensor``.
            lazy: as in MONAI.

        Returns:
            The volume ``(C, row, column, slice)``. Its affine follows.

        Raises:
            ValueError: when it is no volume.
        """
        if data_array.ndim != 4:
            raise ValueError(f"image of shape {tuple(data_array.shape)} is no volume: (channel, i, j, k) is expected")
        return super().__call__(data_array, lazy)


class Axiald(MapTransform, InvertibleTransform):
    """Dictionary version of :class:`Axial`.

    Args:
        keys: keys of the volumes.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.axial = Axial()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.axial(d[key])
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.axial.inverse(d[key])
        return d
