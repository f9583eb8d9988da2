# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Losses of SemanticGAN."""

from __future__ import annotations

from monai_semgan.losses.adversarial import HingeAdversarialLoss as HingeAdversarialLoss
from monai_semgan.losses.adversarial import NonSaturatingLoss as NonSaturatingLoss
from monai_semgan.losses.encoder import EncoderLoss as EncoderLoss
from monai_semgan.losses.encoder import EncoderLossTerms as EncoderLossTerms
from monai_semgan.losses.feature_matching import FeatureMatchingLoss as FeatureMatchingLoss
from monai_semgan.losses.gradient_distance import GradientDistance as GradientDistance
from monai_semgan.losses.path_length import PathLengthPenalty as PathLengthPenalty
from monai_semgan.losses.perceptual import PerceptualDistance as PerceptualDistance
from monai_semgan.losses.r1 import R1Penalty as R1Penalty
from monai_semgan.losses.reconstruction import ReconstructionLoss as ReconstructionLoss
from monai_semgan.losses.wplus import WPlusRegulariser as WPlusRegulariser
