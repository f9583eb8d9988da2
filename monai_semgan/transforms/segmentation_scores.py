# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Scores of a prediction against its label, computed item by item."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor

from monai_semgan.metrics import SCORES, known_scores, segmentation_scores


class SegmentationScoresd(MapTransform):
    """Put the :func:`monai_semgan.metrics.segmentation_scores` of a mask into the item.

    Millimetres come from the mask's affine, where its metadata does not say that the spacing is unknown.

    Args:
        keys: key of the binary mask, on the grid of its image.
        label_key: key of the label.
        scores_key: key for the scores.
        scores: names of those to compute; all by default.

    Raises:
        ValueError: when a score is unknown.
    """

    def __init__(
        self, keys: str, label_key: str = "label", scores_key: str = "scores", scores: Iterable[str] = tuple(SCORES)
    ) -> None:
        super().__init__(keys)
        self.label_key = label_key
        self.scores_key = scores_key
        self.scores = known_scores(scores)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        label = convert_to_tensor(d[self.label_key], track_meta=False)[0]
        for key in self.key_iterator(d):
            # the mask may have lost its channel, which is the only one
            mask = convert_to_tensor(d[key], track_meta=False).reshape(d[key].shape[-label.ndim :])
            d[self.scores_key] = segmentation_scores(mask, label, spacing(d[key], label.ndim), self.scores)
        return d


def spacing(image: torch.Tensor, spatial_dims: int) -> np.ndarray | None:
    """Give the millimetres a pixel of an image, or None where they are not known."""
    if not isinstance(image, MetaTensor) or image.meta.get("spacing_unit", "mm") != "mm":
        return None
    return np.linalg.norm(np.asarray(image.affine)[:3, :spatial_dims], axis=0)
