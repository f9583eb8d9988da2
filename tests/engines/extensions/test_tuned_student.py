# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from monai.losses import DiceCELoss
from torch import nn

from monai_semgan.engines import TunedStudent
from monai_semgan.engines.extension import Part, SemiSupervisedBatch
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation
from tests.engines.test_encoder_trainer import tiny_encoder_trainer

STILL = DifferentiableAugmentation()


def trainer_with(student: nn.Module | None, extension: TunedStudent):
    """A trainer whose network, and its average, have the student."""
    trainer = tiny_encoder_trainer(extensions={})
    trainer.network.student = student
    trainer.ema.average.student = student
    for group in extension.parameter_groups(trainer):
        trainer.optimizer.add_param_group(group)
    extension.attach(trainer)
    return trainer


def test_pairs_are_learned_and_images_keep_the_averages_label() -> None:
    torch.manual_seed(0)
    student, extension = nn.Conv2d(1, 1, 1), TunedStudent(lr=0.1, augmentation=STILL)
    trainer = trainer_with(student, extension)
    assert any(weight is student.weight for group in trainer.optimizer.param_groups for weight in group["params"])
    image, other = torch.rand(2, 1, 16, 16) * 2 - 1, torch.rand(3, 1, 16, 16) * 2 - 1
    label = (image > 0.3).float()
    batch = SemiSupervisedBatch(Part(other), Part(image, label * 2 - 1))
    loss = DiceCELoss(sigmoid=True)
    expected = loss(student(image), label) + loss(student(other), (student(other) > 0).float())
    value = extension.loss(batch, {})
    assert value is not None
    torch.testing.assert_close(value, expected)
    value.backward()
    assert student.weight.grad is not None and student.weight.grad.abs().sum() > 0


def test_without_a_student_nothing_is_done() -> None:
    extension = TunedStudent(lr=0.1, augmentation=STILL)
    trainer = trainer_with(None, extension)
    assert extension.parameter_groups(trainer) == []
    image = torch.zeros(1, 1, 16, 16)
    assert extension.loss(SemiSupervisedBatch(Part(image), Part(image, image)), {}) is None


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="lr -1 must not be negative"):
        TunedStudent(lr=-1, augmentation=STILL)
    with pytest.raises(ValueError, match="augmentation moves the image"):
        TunedStudent(lr=0.1, augmentation=DifferentiableAugmentation(shift=0.1))
