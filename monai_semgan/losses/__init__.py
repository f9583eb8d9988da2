# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Losses of SemanticGAN."""

from __future__ import annotations

from monai_semgan.losses.adversarial import HingeAdversarialLoss, NonSaturatingLoss
from monai_semgan.losses.encoder import EncoderLoss, EncoderLossTerms
from monai_semgan.losses.feature_matching import FeatureMatchingLoss
from monai_semgan.losses.path_length import PathLengthPenalty
from monai_semgan.losses.perceptual import PerceptualDistance
from monai_semgan.losses.r1 import R1Penalty
from monai_semgan.losses.reconstruction import ReconstructionLoss
from monai_semgan.losses.wplus import WPlusRegulariser

__all__ = [
    "EncoderLoss",
    "EncoderLossTerms",
    "FeatureMatchingLoss",
    "HingeAdversarialLoss",
    "NonSaturatingLoss",
    "PathLengthPenalty",
    "PerceptualDistance",
    "R1Penalty",
    "ReconstructionLoss",
    "WPlusRegulariser",
]
