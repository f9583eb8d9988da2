# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Inferers."""

from __future__ import annotations

from monai_semgan.inferers.intensity_curve import IntensityCurve
from monai_semgan.inferers.slice_wise_inferer import SliceWiseInferer
from monai_semgan.inferers.view_averaging_inferer import ViewAveragingInferer
from monai_semgan.inferers.wplus_inferer import WPlusInferer, WPlusResult
from monai_semgan.inferers.wplus_uncertainty import Uncertainty, WPlusUncertainty

__all__ = [
    "IntensityCurve",
    "SliceWiseInferer",
    "Uncertainty",
    "ViewAveragingInferer",
    "WPlusInferer",
    "WPlusResult",
    "WPlusUncertainty",
]
