# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Refuse labels that do not lie on their image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform


class SameGridd(MapTransform):
    """Pass labels on unchanged, or say in which numbers their grid differs from that of the image's file.

    Args:
        keys: keys of the labels, channel-first, as loaded.
        image_key: key of the image, which may have been transformed since it was loaded.
        tolerance: largest distance in millimetres between where a corner lies in the label and in the image.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(
        self, keys: KeysCollection, image_key: str = "image", tolerance: float = 0.1, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        self.tolerance = tolerance

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        meta = d[self.image_key].meta
        for key in self.key_iterator(d):
            differences = grid_differences(d[key], meta, self.tolerance)
            if differences:
                name = Path(d[key].meta.get("filename_or_obj", key)).name
                raise ValueError(f"{name} is on another grid than its image: {', '.join(differences)}: resample it")
        return d


def grid_differences(label: MetaTensor, meta: Mapping[str, Any], tolerance: float) -> list[str]:
    """Tell the numbers in which the grids of a label and of an image's file differ.

    Args:
        label: channel-first label.
        meta: the image's metadata.
        tolerance: largest distance between corners in millimetres.

    Returns:
        A phrase for each, none when the grids are the same.
    """
    shape, other = tuple(label.shape[1:]), tuple(int(n) for n in meta["spatial_shape"])
    if shape != other:
        return [f"it is of shape {shape}, the image of {other}"]
    # a picture may be the label of a single image that knows where it lies
    if len(shape) == 2:
        return []
    affine, image_affine = np.asarray(label.affine, np.float64), np.asarray(meta["original_affine"], np.float64)
    corners = np.array([*np.ndindex(2, 2, 2)]).T * (np.array([shape]).T - 1)
    apart = (affine - image_affine) @ np.vstack([corners, np.ones(8)])
    if np.linalg.norm(apart[:3], axis=0).max() <= tolerance:
        return []
    named = (("origin", lambda a: a[:3, 3]), ("spacing", spacing), ("direction", lambda a: a[:3, :3] / spacing(a)))
    pairs = [(name, value(affine), value(image_affine)) for name, value in named]
    return [
        f"its {name} is {np.round(mine, 4).tolist()}, the image's {np.round(its, 4).tolist()}"
        for name, mine, its in pairs
        if not np.allclose(mine, its, rtol=1e-4, atol=1e-4)
    ]


def spacing(affine: np.ndarray) -> np.ndarray:
    """Millimetres a voxel."""
    return np.linalg.norm(affine[:3, :3], axis=0)
