# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Measurements of masks, and scores that MONAI does not give as one."""

from __future__ import annotations

from monai_semgan.metrics.measurements import Measurements, in_words
from monai_semgan.metrics.segmentation_scores import SCORES, known_scores, segmentation_scores
from monai_semgan.metrics.volume_scores import VOLUME_SCORES, volume_scores

# of images and of volumes: all that a report may hold
REPORTED_SCORES = tuple(dict.fromkeys((*SCORES, *VOLUME_SCORES)))

__all__ = [
    "REPORTED_SCORES",
    "SCORES",
    "VOLUME_SCORES",
    "Measurements",
    "in_words",
    "known_scores",
    "segmentation_scores",
    "volume_scores",
]
