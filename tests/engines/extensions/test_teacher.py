# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation
from tests.engines.test_encoder_trainer import tiny_encoder_trainer


def test_unlabelled_images_learn_from_the_average_and_follow_the_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    jitter = DifferentiableAugmentation(shift=0.4)
    trainer = tiny_encoder_trainer(steps=1, teacher_weight=1.0, jitter=jitter)
    compared: list[tuple[Tensor, Tensor]] = []
    segment = trainer.loss.segment
    monkeypatch.setattr(trainer.loss, "segment", lambda *pair: (compared.append(pair), segment(*pair))[1])
    # a teacher that calls everything foreground: what the jitter brings in from outside is background
    monkeypatch.setattr(trainer.extensions["teacher"], "teach", torch.ones_like)
    trainer.run()
    # after the pairs, which are part of the paper's loss
    logits, label = compared[1]
    assert trainer.state.output[0]["taught_segmentation"] == pytest.approx(segment(logits, label).item())
    images = torch.stack([output["image"] for output in trainer.state.output[-3:]])
    assert 0 < label.mean() < 1
    assert (label[images == -1.0] == 0).all()


def test_the_teacher_is_the_average_unless_one_is_given() -> None:
    trainer = tiny_encoder_trainer()
    image = torch.rand(2, 1, 16, 16) * 2 - 1
    other = tiny_encoder_trainer(teacher=nn.Conv2d(1, 1, 1))
    teacher = other.extensions["teacher"]
    torch.testing.assert_close(teacher.teach(image), torch.sigmoid(teacher.network(image)) * 2 - 1)
    with torch.no_grad():
        expected = torch.sigmoid(trainer.ema.average(image)) * 2 - 1
    torch.testing.assert_close(trainer.extensions["teacher"].teach(image), expected)
