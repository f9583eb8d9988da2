# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What a run tells: masks and overlays in files, a row for each image, summaries."""

from __future__ import annotations

from monai_semgan.reports.cohort_report import CohortReport

__all__ = ["CohortReport"]
