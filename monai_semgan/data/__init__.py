# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Reading images and feeding them to engines."""

from __future__ import annotations

from monai_semgan.data.cohort import cohort
from monai_semgan.data.cohort_dataset import CohortDataset
from monai_semgan.data.failure import FAILURE, failure_reason
from monai_semgan.data.planar_image_reader import PlanarImageReader
from monai_semgan.data.readable_items import readable_items
from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader
from monai_semgan.data.slice_dataset import SliceDataset
from monai_semgan.data.volume_cohort import volume_cohort
from monai_semgan.data.volume_reader import VolumeReader

__all__ = [
    "CohortDataset",
    "FAILURE",
    "PlanarImageReader",
    "SemiSupervisedLoader",
    "SliceDataset",
    "VolumeReader",
    "cohort",
    "failure_reason",
    "readable_items",
    "volume_cohort",
]
