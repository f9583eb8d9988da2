# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Handlers that MONAI does not have."""

from __future__ import annotations

from monai_semgan.handlers.checkpoints import ResumableCheckpoint as ResumableCheckpoint
from monai_semgan.handlers.checkpoints import WeightsSaver as WeightsSaver
from monai_semgan.handlers.code_fitters import PreconditionerFitter as PreconditionerFitter
from monai_semgan.handlers.code_fitters import PriorFitter as PriorFitter
from monai_semgan.handlers.loss_curves import LossCurves as LossCurves
from monai_semgan.handlers.rank_synchroniser import RankSynchroniser as RankSynchroniser
from monai_semgan.handlers.sample_grid import SampleGrid as SampleGrid
from monai_semgan.handlers.time_budget import TimeBudget as TimeBudget
from monai_semgan.handlers.training_progress import TrainingProgress as TrainingProgress
from monai_semgan.handlers.validation import AverageValidationHandler as AverageValidationHandler
from monai_semgan.handlers.validation import FineTuneReport as FineTuneReport
