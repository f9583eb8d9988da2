# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Handlers that MONAI does not have."""

from __future__ import annotations

from monai_semgan.handlers.average_validation import AverageValidationHandler
from monai_semgan.handlers.cohort_report import CohortReport
from monai_semgan.handlers.fine_tune_report import FineTuneReport
from monai_semgan.handlers.loss_curves import LossCurves
from monai_semgan.handlers.preconditioner_fitter import PreconditionerFitter
from monai_semgan.handlers.prior_fitter import PriorFitter
from monai_semgan.handlers.rank_synchroniser import RankSynchroniser
from monai_semgan.handlers.resumable_checkpoint import ResumableCheckpoint
from monai_semgan.handlers.sample_grid import SampleGrid
from monai_semgan.handlers.training_progress import TrainingProgress
from monai_semgan.handlers.weights_loader import WeightsLoader
from monai_semgan.handlers.weights_saver import WeightsSaver

__all__ = [
    "AverageValidationHandler",
    "CohortReport",
    "FineTuneReport",
    "LossCurves",
    "PreconditionerFitter",
    "PriorFitter",
    "RankSynchroniser",
    "ResumableCheckpoint",
    "SampleGrid",
    "TrainingProgress",
    "WeightsLoader",
    "WeightsSaver",
]
