# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Scores that MONAI does not give as one."""

from __future__ import annotations

from monai_semgan.metrics.segmentation_scores import SCORES, known_scores, segmentation_scores

__all__ = ["SCORES", "known_scores", "segmentation_scores"]
