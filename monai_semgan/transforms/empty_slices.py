# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Slices that show nothing of what is to be segmented: fewer of those there are, or more where all show it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
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


# brightness, from -1 to 1, above which a pixel belongs to the body
AIR = -0.95


class MirroredEmptySlicesd(MapTransform):
    """Append slices without label to a volume: half a body without the organ, and its mirror image. For training.

    Volumes that are cut to the slices that show an organ teach nothing about the others, where a network then finds it
    nevertheless. Where the label lies on one side of the body, left or right, the other side takes its place. The body
    reaches from the first to the last column that is not air.

    Items without a label stay as they are.

    Args:
        keys: keys of the image and of the label, ``(C, row, column, slice)``.
        image_key: key of the image, in [-1, 1].
        label_key: key of the label.
        margin: columns that must lie between the label and the middle of the body.

    Raises:
        ValueError: when the margin is negative, or a key is missing from ``keys``.
    """

    def __init__(
        self, keys: KeysCollection, image_key: str = "image", label_key: str = "label", margin: int = 2
    ) -> None:
        super().__init__(keys)
        if margin < 0:
            raise ValueError(f"margin is {margin}, it must not be negative")
        if missing := {image_key, label_key} - set(self.keys):
            raise ValueError(f"keys are {list(self.keys)}: name {', '.join(sorted(missing))} among them")
        self.image_key = image_key
        self.label_key = label_key
        self.margin = margin

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if self.label_key not in d:
            return d
        image = convert_to_tensor(d[self.image_key], track_meta=False)
        label = convert_to_tensor(d[self.label_key], track_meta=False)
        found = [mirrored(image[..., i], label[..., i], self.margin) for i in range(image.shape[-1])]
        if slices := [slice_ for slice_ in found if slice_ is not None]:
            added = torch.stack(slices, dim=-1)
            d[self.image_key] = torch.cat([d[self.image_key], added], dim=-1)
            d[self.label_key] = torch.cat([d[self.label_key], torch.zeros_like(label[..., : len(slices)])], dim=-1)
        return d


def mirrored(image: torch.Tensor, label: torch.Tensor, margin: int) -> torch.Tensor | None:
    """Replace the half of a body in a slice ``(C, row, column)`` that holds the label by the mirror image of the other.

    None where the label is empty or crosses the middle, to which it has to keep a margin in columns.
    """
    body = (image > AIR).flatten(0, 1).any(0).nonzero()
    organ = (label > 0).flatten(0, 1).any(0).nonzero()
    if not len(body) or not len(organ):
        return None
    # columns left of it go to mirror - column, which is right of it
    mirror = int(body[0] + body[-1])
    columns = torch.arange(image.shape[-1])
    if 2 * (organ[-1] + margin) < mirror:
        replaced = 2 * columns < mirror
    elif 2 * (organ[0] - margin) > mirror:
        replaced = 2 * columns > mirror
    else:
        return None
    source = torch.where(replaced, mirror - columns, columns)
    inside = (source >= 0) & (source < len(columns))
    out = torch.full_like(image, -1.0)
    out[..., inside] = image[..., source[inside]]
    return out
