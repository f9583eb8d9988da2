# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Fewer of the slices that show nothing of what is to be segmented."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor


class ThinEmptySlicesd(MapTransform):
    """Keep all slices with a label and a share of those without, evenly spaced among these. For training.

    Items without a label keep all of their slices.

    Args:
        keys: keys of the volumes, ``(C, row, column, slice)``, the label among them.
        label_key: key of the label.
        share: share of the slices without label to keep, from 0 to 1.

    Raises:
        ValueError: when the share is out of range.
    """

    def __init__(self, keys: KeysCollection, label_key: str = "label", share: float = 1.0) -> None:
        super().__init__(keys)
        if not 0 <= share <= 1:
            raise ValueError(f"share is {share}, it has to be from 0 to 1")
        self.label_key = label_key
        self.share = share

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if self.label_key in d:
            shows = convert_to_tensor(d[self.label_key], track_meta=False).flatten(0, 2).any(0).numpy()
            empty = np.flatnonzero(~shows)
            number = round(self.share * len(empty))
            # the middles of as many equal parts
            shows[empty[((np.arange(number) + 0.5) * len(empty) / max(number, 1)).astype(int)]] = True
            for key in self.key_iterator(d):
                d[key] = d[key][..., np.flatnonzero(shows)]
        return d
