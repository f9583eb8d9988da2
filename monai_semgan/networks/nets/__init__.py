# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Networks of SemanticGAN."""

from __future__ import annotations

from monai_semgan.networks.nets.dice_calibration import DiceCalibration as DiceCalibration
from monai_semgan.networks.nets.domain_check import DomainCheck as DomainCheck
from monai_semgan.networks.nets.image_discriminator import ImageDiscriminator as ImageDiscriminator
from monai_semgan.networks.nets.joint_discriminator import JointDiscriminator as JointDiscriminator
from monai_semgan.networks.nets.semantic_gan import SemanticGAN as SemanticGAN
from monai_semgan.networks.nets.semantic_generator import SemanticGenerator as SemanticGenerator
from monai_semgan.networks.nets.wplus_encoder import WPlusEncoder as WPlusEncoder
from monai_semgan.networks.nets.wplus_preconditioner import WPlusPreconditioner as WPlusPreconditioner
from monai_semgan.networks.nets.wplus_prior import WPlusPrior as WPlusPrior
