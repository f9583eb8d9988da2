# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation
from tests.engines.test_encoder_trainer import tiny_encoder_trainer


def test_the_encoder_sees_the_perturbed_and_rebuilds_the_clean_image(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny_encoder_trainer(steps=1, augmentation=DifferentiableAugmentation(brightness=1.0))
    seen: list[Tensor] = []
    encode = trainer.network.encode
    monkeypatch.setattr(trainer.network, "encode", lambda image: (seen.append(image), encode(image))[1])
    trainer.run()
    target = torch.stack([output["image"] for output in trainer.state.output])
    shift = (seen[0] - target).mean((1, 2, 3), keepdim=True)
    assert shift.abs().min() > 0
    torch.testing.assert_close(seen[0] - shift, target, atol=1e-5, rtol=0)


def test_a_moving_augmentation_is_refused() -> None:
    with pytest.raises(ValueError, match="put scale, stretch, shift and rotate into jitter"):
        tiny_encoder_trainer(augmentation=DifferentiableAugmentation(rotate=5))
