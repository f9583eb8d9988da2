# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Labels that fit their image: on its grid or the network's, and of 0 and 1 or of class indices."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import AsDiscrete, MapTransform, Resize, Transform
from monai.utils import convert_to_dst_type, convert_to_tensor
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

from monai_semgan.networks.label_map import resized_label


class SameGridd(MapTransform):
    """Pass labels on that lie on the grid of the image's file, or say in which numbers theirs differs.

    A label whose axes are stored in another order or direction, as its affine tells, is brought to the image's.

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
            d[key] = reordered(d[key], meta)
            differences = grid_differences(d[key], meta, self.tolerance)
            if differences:
                name = Path(d[key].meta.get("filename_or_obj", key)).name
                raise ValueError(f"{name} is on another grid than its image: {', '.join(differences)}: resample it")
        return d


def reordered(label: MetaTensor, meta: Mapping[str, Any]) -> MetaTensor:
    """Store a label as the image's file is, where both tell by their affine how they lie.

    Args:
        label: ``(C, ...)``, as loaded.
        meta: the metadata of its image.

    Returns:
        The label with its axes permuted and flipped, and the affine that follows; as it is where its axes run as the
        image's do, or where one of the two is a picture or has no orientation.
    """
    mine, its = affine_of(label.meta), affine_of(meta)
    if mine is None or its is None or label.meta.get("rows_first") or meta.get("rows_first"):
        return label
    dims = label.ndim - 1
    change = ornt_transform(io_orientation(mine), io_orientation(its))
    # the normal of a single image may point either way
    if np.isnan(change).any() or set(change[:dims, 0]) != set(range(dims)):
        return label
    change = change[:dims]
    if (change[:, 0] == range(dims)).all() and (change[:, 1] == 1).all():
        return label
    array = apply_orientation(label.as_tensor().numpy(), [[0, 1], *(change + [1, 0])])
    full = np.eye(3, 2)
    full[:, 0] = range(3)
    full[:, 1] = 1
    full[:dims] = change
    affine = mine @ inv_ornt_aff(full, [*label.shape[1:], 1, 1][:3])
    shape = np.array(array.shape[1:])
    stored = {"affine": torch.as_tensor(affine), "original_affine": affine, "spatial_shape": shape}
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(array)), meta={**label.meta, **stored})


def affine_of(meta: Mapping[str, Any]) -> np.ndarray | None:
    """The affine by which an image's mask lies over it; None of a picture, and of one made of a picture."""
    if meta.get("file_format") == "picture":
        return None
    # a DICOM image's own may be that of its display
    name = "file_affine" if meta.get("file_format") == "dicom" else "original_affine"
    affine = np.asarray(meta.get(name, meta.get("affine")), np.float64)
    return None if np.array_equal(affine[:3, :3], np.eye(3)) else affine


def grid_differences(label: MetaTensor, meta: Mapping[str, Any], tolerance: float) -> list[str]:
    """Tell the numbers in which a label's grid differs from that of its image's file, a phrase for each.

    ``tolerance`` is the largest distance between corners in millimetres.
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


class LabelMap(Transform):
    """Check that a label holds the classes of a bundle and nothing else.

    Args:
        classes: names of the classes, that of the value 1 first.

    Raises:
        ValueError: without a class.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        if not self.classes:
            raise ValueError("classes names none, a label holds at least one")

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: channel-first label ``(1, ...)``; of one class of 0 and one other value, of several classes of their
                indices, 0 for background.

        Returns:
            The label as float, of 0 and 1 or of class indices.

        Raises:
            ValueError: when the label has several channels, or other values.
        """
        if len(self.classes) == 1:
            return BinaryMask()(img)
        if img.shape[0] != 1:
            raise ValueError(f"label has {img.shape[0]} channels, 1 expected")
        values = torch.unique(convert_to_tensor(img, track_meta=False))
        known = torch.isin(values.double(), torch.arange(len(self.classes) + 1, dtype=torch.double))
        if not known.all():
            shown = ", ".join(f"{value:g}" for value in values[~known][:5].tolist())
            named = ", ".join(f"{index} {name}" for index, name in enumerate(["background", *self.classes]))
            raise ValueError(
                f"label holds {shown}, which is none of its classes ({named}): store the index of its class in each "
                "pixel, no colours and no shades between them"
            )
        return img.float()


class LabelMapd(MapTransform):
    """Dictionary version of :class:`LabelMap`.

    Args:
        keys: keys of the labels.
        classes: names of the classes, that of the value 1 first.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(self, keys: KeysCollection, classes: Sequence[str], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_map = LabelMap(classes)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.label_map(d[key])
        return d


class ResizeLabel(Transform):
    """Resize a label: each pixel gets the class that takes the largest share of its area, the higher one of two alike.

    Class indices are never averaged. A label that has the size already stays as it is.

    Args:
        spatial_size: rows and columns.
    """

    def __init__(self, spatial_size: Sequence[int]) -> None:
        self.spatial_size = tuple(spatial_size)

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: 0 and 1, or class indices, ``(1, row, column)``.

        Returns:
            The label of the size, as float.
        """
        values = convert_to_tensor(img, track_meta=False)
        if values.max() <= 1:
            resized = AsDiscrete(threshold=0.5)(Resize(self.spatial_size, mode="area")(img))
            return convert_to_tensor(resized, track_meta=True)
        return convert_to_dst_type(resized_label(values, self.spatial_size, mode="area"), img)[0]


class ResizeLabeld(MapTransform):
    """Dictionary version of :class:`ResizeLabel`.

    Args:
        keys: keys of the labels.
        spatial_size: rows and columns.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(self, keys: KeysCollection, spatial_size: Sequence[int], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.resize = ResizeLabel(spatial_size)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.resize(d[key])
        return d
