# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Inferers."""

from __future__ import annotations

from monai_semgan.inferers.slice_wise_inferer import SliceWiseInferer as SliceWiseInferer
from monai_semgan.inferers.view_averaging_inferer import ViewAveragingInferer as ViewAveragingInferer
from monai_semgan.inferers.wplus_inferer import ANSWERS as ANSWERS
from monai_semgan.inferers.wplus_inferer import PRESETS as PRESETS
from monai_semgan.inferers.wplus_inferer import WPlusInferer as WPlusInferer
from monai_semgan.inferers.wplus_inferer import WPlusResult as WPlusResult
from monai_semgan.inferers.wplus_uncertainty import Uncertainty as Uncertainty
from monai_semgan.inferers.wplus_uncertainty import WPlusUncertainty as WPlusUncertainty
