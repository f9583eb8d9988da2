# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Two-dimensional items in memory, of images or drawn from volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai.data import CacheDataset, Dataset
from monai.transforms import Compose, Transform
from monai.utils import ensure_tuple
from torch import Tensor


class TakeSlices(Transform):
    """Take the volumes of an item apart: the item of slice k has slice k of each; an image's item stays as it is."""

    def __call__(self, data: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """
        Args:
            data: tensors ``(C, row, column)``, or ``(C, row, column, slice)`` with as many slices each.

        Returns:
            Items of tensors ``(C, row, column)``.
        """
        if all(value.ndim == 3 for value in data.values()):
            return [data]
        slices = zip(*(value.movedim(-1, 0).contiguous() for value in data.values()), strict=True)
        return [dict(zip(data, values)) for values in slices]


class SliceDataset(Dataset):
    """A dataset that reads every item once and keeps it in memory, a volume as its slices.

    So a training takes images and volumes alike. The slices of a patient follow each other.

    Args:
        data: items.
        transform: gives dictionaries of tensors ``(C, row, column)`` or ``(C, row, column, slice)``.
        num_workers: threads that read items.
    """

    def __init__(self, data: Sequence[Any], transform: Callable | Sequence = (), num_workers: int = 1) -> None:
        parts = CacheDataset(data, Compose([*ensure_tuple(transform), TakeSlices()]), num_workers=num_workers)
        super().__init__([item for index in range(len(parts)) for item in parts[index]])
