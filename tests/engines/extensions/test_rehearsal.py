# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.engines.test_encoder_trainer import tiny_encoder_trainer, weights


def test_without_rehearsal_samples_are_those_of_the_generator_that_learns() -> None:
    trainer = tiny_encoder_trainer(generator_lr=1e-3)
    assert trainer.extensions["samples"].generator is trainer.network.generator


@pytest.mark.parametrize("rates", [{}, {"label_lr": 1e-3}, {"generator_lr": 1e-3}])
def test_a_generator_that_learns_rehearses_what_the_gan_left(
    rates: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It redraws samples of the GAN, which stays, from their codes; one that is frozen from the encoder's."""
    trainer = tiny_encoder_trainer(**rates, rehearse=True)
    gan = weights(trainer.network.generator)
    drawn: list[Tensor] = []
    decoded: list[Tensor] = []
    samples = trainer.extensions["samples"]
    draw, decode = samples.draw, trainer.network.decode
    monkeypatch.setattr(samples, "draw", lambda: (sample := draw(), drawn.append(sample.codes))[0])
    monkeypatch.setattr(trainer.network, "decode", lambda codes: (decoded.append(codes.detach()), decode(codes))[1])
    trainer.run()
    for codes, shown in zip(drawn, decoded, strict=True):
        assert shown.shape[0] == 2 + 2 + 3
        assert torch.equal(shown[2:4], codes) == bool(rates)
        assert not torch.equal(shown[:2], codes)
    assert all(torch.equal(weight, gan[name]) for name, weight in samples.generator.named_parameters())
    assert any(not torch.equal(w, gan[name]) for name, w in trainer.network.generator.named_parameters()) == bool(rates)
