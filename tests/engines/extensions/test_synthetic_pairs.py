# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events

from monai_semgan.engines import PriorPairs, SyntheticPairs
from monai_semgan.engines.extension import Answer, Part, SemiSupervisedBatch
from tests.engines.test_encoder_trainer import tiny_encoder_trainer


def test_samples_of_the_prior_have_its_codes() -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="the prior knows no codes"):
        tiny_encoder_trainer(samples=PriorPairs(2))
    trainer = tiny_encoder_trainer()
    prior = trainer.network.prior
    prior.fit(torch.randn(5, *prior.mean.shape))
    samples = PriorPairs(2)
    samples.attach(trainer)
    torch.manual_seed(1)
    expected = prior.sample(2)
    torch.manual_seed(1)
    assert torch.equal(samples.draw().codes, expected)


def test_it_learns_the_samples_of_its_generator() -> None:
    trainer = tiny_encoder_trainer(max_epochs=1, steps=60, lr=1e-2, samples=SyntheticPairs(16))
    losses: list[float] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output[0]["synthetic_segmentation"])
    )
    trainer.run()
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_code_loss_is_the_share_of_the_variance_that_is_missed() -> None:
    trainer = tiny_encoder_trainer(steps=1)
    torch.manual_seed(2)
    codes = torch.randn(3, trainer.network.generator.num_codes, 8)
    mean_w = trainer.network.generator.mean_w
    batch = SemiSupervisedBatch(Part(torch.zeros(1)), Part(torch.zeros(1)), {"mine": Part(torch.zeros(1), codes=codes)})
    for share in (0.0, 0.5, 1.0):
        answer = codes + share * (mean_w - codes)
        loss = trainer.extensions["code_loss"].loss(batch, {"mine": Answer(answer, torch.zeros(1))})
        assert loss.item() == pytest.approx(share**2)


@pytest.mark.parametrize("settings", [{"number": 0}, {"style_mixing": 1.5}])
def test_ranges(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        SyntheticPairs(**settings)
