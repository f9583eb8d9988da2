# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Engines that train, and the extensions of both trainings."""

from __future__ import annotations

from monai_semgan.engines.encoder_trainer import EncoderTrainer as EncoderTrainer
from monai_semgan.engines.extension import EncoderExtension as EncoderExtension
from monai_semgan.engines.extension import GANExtension as GANExtension
from monai_semgan.engines.extensions.augmentation import AdaptiveAugmentation as AdaptiveAugmentation
from monai_semgan.engines.extensions.augmentation import Jitter as Jitter
from monai_semgan.engines.extensions.organ_contrast import OrganContrast as OrganContrast
from monai_semgan.engines.extensions.perturbation import Perturbation as Perturbation
from monai_semgan.engines.extensions.rehearsal import Rehearsal as Rehearsal
from monai_semgan.engines.extensions.synthetic_pairs import CodeLoss as CodeLoss
from monai_semgan.engines.extensions.synthetic_pairs import PriorPairs as PriorPairs
from monai_semgan.engines.extensions.synthetic_pairs import SyntheticPairs as SyntheticPairs
from monai_semgan.engines.extensions.teacher import Teacher as Teacher
from monai_semgan.engines.extensions.tuned_generator import TunedGenerator as TunedGenerator
from monai_semgan.engines.extensions.tuned_student import TunedStudent as TunedStudent
from monai_semgan.engines.segmenter_trainer import SegmenterTrainer as SegmenterTrainer
from monai_semgan.engines.semantic_gan_trainer import GANSettings as GANSettings
from monai_semgan.engines.semantic_gan_trainer import SemanticGANTrainer as SemanticGANTrainer
