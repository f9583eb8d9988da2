# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Measurements of masks, and scores that MONAI does not give as one."""

from __future__ import annotations

from monai_semgan.metrics.measurements import Measurements, in_words
from monai_semgan.metrics.segmentation_scores import (
    MEAN_IOU,
    SCORES,
    class_columns,
    known_scores,
    label_map_scores,
    segmentation_scores,
)
from monai_semgan.metrics.volume_scores import VOLUME_SCORES, slice_dice, volume_scores

# of images and of volumes: all that a report may hold
REPORTED_SCORES = tuple(dict.fromkeys((*SCORES, MEAN_IOU, *VOLUME_SCORES)))

__all__ = [
    "MEAN_IOU",
    "REPORTED_SCORES",
    "SCORES",
    "VOLUME_SCORES",
    "Measurements",
    "class_columns",
    "in_words",
    "known_scores",
    "label_map_scores",
    "segmentation_scores",
    "slice_dice",
    "volume_scores",
]
