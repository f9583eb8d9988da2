# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The images of a run, and feeding them to engines."""

from __future__ import annotations

from monai_semgan.data.cohort import FAILURE as FAILURE
from monai_semgan.data.cohort import SKIPPED as SKIPPED
from monai_semgan.data.cohort import CohortDataset as CohortDataset
from monai_semgan.data.cohort import cohort as cohort
from monai_semgan.data.cohort import failure_reason as failure_reason
from monai_semgan.data.cohort import readable_items as readable_items
from monai_semgan.data.self_taught_images import SelfTaughtImages as SelfTaughtImages
from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader as SemiSupervisedLoader
from monai_semgan.data.slice_dataset import SliceDataset as SliceDataset
from monai_semgan.data.taught_images import TaughtImages as TaughtImages
