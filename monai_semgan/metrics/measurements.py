# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Measurements of a mask: areas, diameters and volumes of its classes, the lungs apart, the cardiothoracic ratio."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import convert_to_tensor
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

# what may be measured, and the units that it may be given in, as multiples of a power of the millimetre
UNITS: dict[str, dict[str, float]] = {
    "area": {"mm2": 1.0, "cm2": 100.0},
    "lung_areas": {"mm2": 1.0, "cm2": 100.0},
    "diameter": {"mm": 1.0, "cm": 10.0},
    "volume": {"mm3": 1.0, "ml": 1000.0},
    "cardiothoracic_ratio": {"1": 1.0},
}
# what it is counted in besides
COUNTS = {"area": "pixels", "lung_areas": "pixels", "diameter": "pixels", "volume": "voxels"}
RATIO = "cardiothoracic_ratio"
# a piece of less than this share of the largest one is no lung of its own
PIECE = 0.1
# two lungs in one piece: a column between has less than this share of the pixels of the longest on either side, or the
# piece is wider than this many times its height
VALLEY, WIDE = 0.5, 1.0
# share of the narrower of two pieces that may lie above the other
ABOVE = 0.5


class Measurements:
    """Put measurements of a mask into an item, for a chain of postprocessing. The mask stays as it is.

    The item gets "measurements", values by name and by unit such as ``{"lung_area": {"cm2": 412.5, "pixels": 70980}}``,
    None where there is nothing to measure or the size of pixels is not known; and "remarks", what a user should know
    beyond that.

    Args:
        measurements: what is measured, and its unit. "area" of each class in "mm2" or "cm2", and in pixels;
            "lung_areas", the same of the right and of the left lung, the two largest pieces of the class "lung";
            "diameter", the largest (Feret) of each class's largest piece in "mm" or "cm", and in pixels;
            "cardiothoracic_ratio" in "1", from the class "heart" and those whose names hold "lung"; "volume" of each
            class of a volume in "ml" or "mm3", and in voxels.
        classes: names of the classes, that of the value 1 of the mask first.
        orient: brings the "image" of an item upright, for left and right; by default masks are upright.
        keys: key of the mask, ``(1, ...)`` on its image's own grid and with its metadata.

    Raises:
        ValueError: for an unknown measurement or unit, or where a class is missing.
    """

    def __init__(
        self,
        measurements: Mapping[str, str],
        classes: Sequence[str],
        orient: Callable[[dict[str, Any]], Any] | None = None,
        keys: str = "pred",
    ) -> None:
        self.units = {name: str(unit) for name, unit in measurements.items()}
        self.classes = list(classes)
        self.orient = orient
        self.key = keys
        for name, unit in self.units.items():
            if name not in UNITS:
                raise ValueError(f"measurement {name} is unknown, there are {', '.join(UNITS)}")
            if unit not in UNITS[name]:
                raise ValueError(f"{name} cannot be measured in {unit}: say {' or '.join(UNITS[name])}")
        needed = {"lung_areas": ["lung"], RATIO: ["heart", "lung"]}
        for name, words in needed.items():
            if name in self.units and not all(self._values(word) for word in words):
                raise ValueError(f"{name} needs classes {' and '.join(words)}, there are {', '.join(self.classes)}")

    def _values(self, word: str) -> list[int]:
        """Values of the classes whose names hold a word."""
        return [value for value, name in enumerate(self.classes, 1) if word in name.lower()]

    @property
    def columns(self) -> dict[str, tuple[str, str]]:
        """Names for the columns of a table, such as "lung_area_cm2": the measurement and the unit that each is of."""
        return {
            name if unit == "1" else f"{name}_{unit}": (name, unit)
            for kind in self.units
            for name in self._names(kind)
            for unit in self._units(kind)
        }

    def _names(self, kind: str) -> list[str]:
        if kind == "lung_areas":
            return ["right_lung_area", "left_lung_area"]
        return [RATIO] if kind == RATIO else [f"{name.replace(' ', '_')}_{kind}" for name in self.classes]

    def _units(self, kind: str) -> list[str]:
        return [self.units[kind], *([COUNTS[kind]] if kind in COUNTS else [])]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """
        Args:
            data: an item with the mask.

        Returns:
            The item with "measurements" and "remarks".
        """
        mask = data[self.key]
        labels = label_map(mask)
        empty = [name for value, name in enumerate(self.classes, 1) if not (labels == value).any()]
        remarks = [f"no {name} is found" for name in empty]
        found: dict[str, dict[str, float | None]] = {}
        for kind in self.units:
            numbers = self._measure(kind, labels, mask, remarks)
            for name, own in zip(self._names(kind), numbers, strict=True):
                found[name] = dict(zip(self._units(kind), map(significant, own), strict=True))
        return {**data, "measurements": found, "remarks": remarks}

    def _measure(
        self, kind: str, labels: np.ndarray, mask: torch.Tensor, remarks: list[str]
    ) -> list[tuple[float | None, ...]]:
        """Measure all of a kind, each in its unit and counted; what is found on the way is added to the remarks."""
        scale = UNITS[kind][self.units[kind]]
        if kind == RATIO:
            upright = self._upright(mask)
            return [(cardiothoracic_ratio(np.isin(upright, self._values("heart")), self._lungs(upright)),)]
        if kind == "diameter":
            size = spacing(mask, labels.ndim)
            pieces = [largest_pieces(labels == value, 1) for value in range(1, len(self.classes) + 1)]
            return [
                (None if size is None or not own else feret_diameter(own[0], size) / scale, feret_diameter(own[0]))
                if own
                else (None, None)
                for own in pieces
            ]
        masks: Sequence[np.ndarray | None] = [labels == value for value in range(1, len(self.classes) + 1)]
        if kind == "lung_areas":
            masks, remark = lungs_apart(self._lungs(self._upright(mask)))
            remarks += [remark] if remark else []
        one = element(mask, labels.ndim)
        counts = [None if own is None else int(np.count_nonzero(own)) for own in masks]
        return [(None if one is None or count is None else count * one / scale, count) for count in counts]

    def _upright(self, mask: torch.Tensor) -> np.ndarray:
        if self.orient is None:
            return label_map(mask)
        plain = MetaTensor(convert_to_tensor(mask, track_meta=False), affine=mask.affine)  # type: ignore[attr-defined]
        return label_map(self.orient({"image": plain})["image"])

    def _lungs(self, labels: np.ndarray) -> np.ndarray:
        return np.isin(labels, self._values("lung"))


def in_words(measurements: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Write measurements by name and unit as text, such as "lung area 412 cm2"; in pixels where the size is unknown."""
    told = []
    for name, values in measurements.items():
        unit, value = next(((unit, value) for unit, value in values.items() if value is not None), ("", None))
        if value is not None:
            shown = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
            told.append(f"{name.replace('_', ' ')} {shown}{'' if unit == '1' else f' {unit}'}")
    return told


def significant(value: float | None) -> float | None:
    """Round to six significant digits, whole numbers not at all."""
    return value if value is None or isinstance(value, int) else float(f"{value:.6g}")


def label_map(mask: torch.Tensor) -> np.ndarray:
    """Give the values of a mask ``(1, ...)`` as whole numbers, without the channel."""
    return convert_to_tensor(mask, track_meta=False)[0].cpu().numpy().astype(np.uint8)


def spacing(image: torch.Tensor, spatial_dims: int) -> np.ndarray | None:
    """Give the millimetres a pixel of an image, or None where they are not known."""
    if not isinstance(image, MetaTensor) or image.meta.get("spacing_unit", "mm") != "mm":
        return None
    return np.linalg.norm(np.asarray(image.affine)[:3, :spatial_dims], axis=0)


def element(image: torch.Tensor, spatial_dims: int) -> float | None:
    """Give the area of a pixel in mm2, or the volume of a voxel in mm3; None where it is not known.

    Axes that are not at right angles, as those of a tilted gantry, count: sqrt(det(A^T A)) of the affine's columns A.
    """
    if spacing(image, spatial_dims) is None:
        return None
    axes = np.asarray(image.affine, np.float64)[:3, :spatial_dims]  # type: ignore[attr-defined]
    return float(np.sqrt(np.linalg.det(axes.T @ axes)))


def largest_pieces(mask: np.ndarray, number: int) -> list[np.ndarray]:
    """Give the largest connected pieces of a mask, diagonals connected, as many as there are up to a number."""
    pieces, count = ndimage.label(mask, np.ones([3] * mask.ndim))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    order = 1 + np.argsort(-sizes[1:], kind="stable")[:number]
    return [pieces == piece for piece in order]


def feret_diameter(mask: np.ndarray, size: Sequence[float] | np.ndarray = (1.0, 1.0)) -> float:
    """Largest distance between two points of a mask's border, by the middles of its pixels' edges.

    As ``skimage.measure.regionprops`` has it (feret_diameter_max), which compares all points of the border and takes
    gigabytes of memory for a lesion of a photograph of 20 megapixels; here those of the convex hull.

    Args:
        mask: Booleans ``(row, column)``, not empty.
        size: distances between rows and between columns.

    Returns:
        The diameter, in the unit of ``size``.
    """
    rows = np.flatnonzero(mask.any(1))
    first, last = mask[rows].argmax(1), mask.shape[1] - 1 - mask[rows, ::-1].argmax(1)
    ends = np.concatenate([np.stack([rows, first], 1), np.stack([rows, last], 1)])
    edges = np.array([(0, -0.5), (0, 0.5), (-0.5, 0), (0.5, 0)])
    points = (ends[:, None] + edges).reshape(-1, 2) * size
    return float(pdist(points[ConvexHull(points).vertices]).max())


def lungs_apart(lungs: np.ndarray) -> tuple[tuple[np.ndarray | None, np.ndarray | None], str]:
    """Tell the right from the left lung of a frontal X-ray by their place: the patient's right is on the image's left.

    Args:
        lungs: Booleans ``(row, column)``, upright.

    Returns:
        The right and the left lung, the two largest pieces; None for one that is missing, or both where they cannot be
        told apart; and why, an empty string where all is well or nothing is there.
    """
    pieces = largest_pieces(lungs, 2)
    if not pieces:
        return (None, None), ""
    if len(pieces) == 2 and pieces[1].sum() < PIECE * pieces[0].sum():
        del pieces[1]
    spans = [np.flatnonzero(piece.any(0))[[0, -1]] for piece in pieces]
    middles = [float((piece.sum(0) @ np.arange(piece.shape[1])) / piece.sum()) for piece in pieces]
    if len(pieces) == 2:
        shared = min(spans[0][1], spans[1][1]) - max(spans[0][0], spans[1][0]) + 1
        if shared > ABOVE * min(span[1] - span[0] + 1 for span in spans):
            return (
                None,
                None,
            ), "the two largest pieces of lung lie above each other: right and left are not told apart"
        return (pieces[0], pieces[1]) if middles[0] < middles[1] else (pieces[1], pieces[0]), ""
    if in_one_piece(pieces[0]):
        return (None, None), "the lungs are merged into one piece: right and left are not told apart"
    if middles[0] < (lungs.shape[1] - 1) / 2:
        return (pieces[0], None), "only one lung is found, the right one by its place: the left one is missing"
    return (None, pieces[0]), "only one lung is found, the left one by its place: the right one is missing"


def in_one_piece(piece: np.ndarray) -> bool:
    """Tell two lungs that are connected from a single one."""
    height = np.count_nonzero(piece.any(1))
    profile = piece.sum(0)[piece.any(0)]
    if len(profile) > WIDE * height:
        return True
    lower = np.minimum(np.maximum.accumulate(profile), np.maximum.accumulate(profile[::-1])[::-1])
    return bool((profile < VALLEY * lower).any())


def cardiothoracic_ratio(heart: np.ndarray, lungs: np.ndarray) -> float | None:
    """Width of the heart as a share of the thorax's largest inner width, of a frontal X-ray.

    The heart's largest distances from any midline to the right and to the left add up to its width, the thorax reaches
    from the outer border of one lung to that of the other in the row where that is farthest.

    Args:
        heart: Booleans ``(row, column)``, upright; its largest piece counts.
        lungs: Booleans of the same shape, of both lungs.

    Returns:
        The ratio; None without a heart, or without two lungs.
    """
    pieces = largest_pieces(heart, 1)
    (right, left), _ = lungs_apart(lungs)
    if not pieces or right is None or left is None:
        return None
    columns = np.flatnonzero(pieces[0].any(0))
    both = (right | left)[right.any(1) & left.any(1)]
    if not len(both):
        return None
    widths = both.shape[1] - both[:, ::-1].argmax(1) - both.argmax(1)
    return float((columns[-1] - columns[0] + 1) / widths.max())
