# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Scores of a prediction against its label, computed item by item."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import MapTransform, Orientation
from monai.utils import convert_to_tensor

from monai_semgan.metrics import MEAN_IOU, SCORES, known_scores, label_map_scores, segmentation_scores
from monai_semgan.metrics.measurements import spacing
from monai_semgan.metrics.volume_scores import volume_scores

# rows to the back, columns to the left, slices to the head
AXIAL = "PLS"
LABELS = (("L", "R"), ("P", "A"), ("I", "S"))


class SegmentationScoresd(MapTransform):
    """Put the :func:`monai_semgan.metrics.segmentation_scores` of a mask into the item, of several classes those of
    :func:`monai_semgan.metrics.label_map_scores`.

    Millimetres come from the mask's affine, where its metadata does not say that the spacing is unknown.

    Args:
        keys: key of the mask, on the grid of its image.
        label_key: key of the label.
        scores_key: key for the scores.
        scores: names of those to compute; all by default. Several classes also know "mean_iou".
        classes: names of the classes; by default one.

    Raises:
        ValueError: when a score is unknown.
    """

    def __init__(
        self,
        keys: str,
        label_key: str = "label",
        scores_key: str = "scores",
        scores: Iterable[str] = tuple(SCORES),
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__(keys)
        self.label_key = label_key
        self.scores_key = scores_key
        self.classes = list(classes)
        several = len(self.classes) > 1
        names = known_scores(scores, (*SCORES, MEAN_IOU) if several else SCORES)
        self.scores = [name for name in names if name != MEAN_IOU]
        self.mean_iou = MEAN_IOU in names

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        label = convert_to_tensor(d[self.label_key], track_meta=False)[0]
        for key in self.key_iterator(d):
            # the mask may have lost its channel, which is the only one
            mask = convert_to_tensor(d[key], track_meta=False).reshape(d[key].shape[-label.ndim :])
            compute = partial(segmentation_scores, spacing=spacing(d[key], label.ndim), scores=self.scores)
            d[self.scores_key] = label_map_scores(mask, label, self.classes, compute, self.mean_iou)
        return d


class VolumeScoresd(MapTransform):
    """Put the :func:`monai_semgan.metrics.volume_scores` of a mask into the item, of several classes those of
    :func:`monai_semgan.metrics.label_map_scores`.

    Args:
        keys: key of the mask ``(1, ...)`` or ``(...)``, on the grid of its volume and with its affine.
        label_key: key of the label, on the same grid.
        scores_key: key for the scores.
        classes: names of the classes; by default one.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        scores_key: str = "scores",
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__(keys)
        self.classes = list(classes)
        self.label_key = label_key
        self.scores_key = scores_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            affine = d[key].affine
            label = convert_to_tensor(d[self.label_key], track_meta=False)
            # the mask may have lost its channel, which is the only one
            pred = convert_to_tensor(d[key], track_meta=False).reshape(-1, *d[key].shape[-3:])
            pred, label = (axial(MetaTensor(volume, affine=affine)) for volume in (pred, label))
            spacing = affine_to_spacing(pred.affine.numpy(), 3)
            masks = [convert_to_tensor(volume, track_meta=False)[0] for volume in (pred, label)]
            compute = partial(volume_scores, spacing=spacing)
            d[self.scores_key] = label_map_scores(masks[0], masks[1], self.classes, compute)
        return d


def axial(volume: MetaTensor) -> MetaTensor:
    """Bring a volume to ``(C, row, column, slice)`` as radiologists see axial slices.

    Rows run towards the patient's back, columns towards the left, slices from feet to head. Axes are permuted and
    flipped to the nearest anatomical ones, nothing is resampled, so that the inverse is exact; an oblique volume stays
    oblique. ``monai.transforms.Orientationd`` with these constants does the same in a chain that is inverted.

    Args:
        volume: channel-first volume ``(C, ...)`` with three spatial dimensions.

    Returns:
        The volume. Its affine follows.

    Raises:
        ValueError: when it is no volume.
    """
    if volume.ndim != 4:
        raise ValueError(f"image of shape {tuple(volume.shape)} is no volume: (channel, i, j, k) is expected")
    out = Orientation(axcodes=AXIAL, labels=LABELS)(volume)
    assert isinstance(out, MetaTensor)
    return out
