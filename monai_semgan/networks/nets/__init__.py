# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Networks of SemanticGAN."""

from __future__ import annotations

from monai_semgan.networks.nets.image_discriminator import ImageDiscriminator
from monai_semgan.networks.nets.joint_discriminator import JointDiscriminator
from monai_semgan.networks.nets.semantic_gan import SemanticGAN
from monai_semgan.networks.nets.semantic_generator import SemanticGenerator
from monai_semgan.networks.nets.wplus_encoder import WPlusEncoder
from monai_semgan.networks.nets.wplus_preconditioner import WPlusPreconditioner
from monai_semgan.networks.nets.wplus_prior import WPlusPrior

__all__ = [
    "ImageDiscriminator",
    "JointDiscriminator",
    "SemanticGAN",
    "SemanticGenerator",
    "WPlusEncoder",
    "WPlusPreconditioner",
    "WPlusPrior",
]
