# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Engines for training, inference and evaluation."""

from __future__ import annotations

from monai_semgan.engines.augmented_batch import AugmentedBatch
from monai_semgan.engines.encoder_trainer import EncoderTrainer
from monai_semgan.engines.semantic_gan_evaluator import SemanticGANEvaluator
from monai_semgan.engines.semantic_gan_trainer import SemanticGANTrainer

__all__ = ["AugmentedBatch", "EncoderTrainer", "SemanticGANEvaluator", "SemanticGANTrainer"]
