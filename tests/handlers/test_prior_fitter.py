# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch

from monai_semgan.handlers import PriorFitter
from tests.engines.test_encoder_trainer import tiny_encoder_trainer


def test_the_prior_is_that_of_the_averaged_encoders_codes() -> None:
    trainer = tiny_encoder_trainer(train_handlers=[PriorFitter(batch_size=2)])
    trainer.run()
    average = trainer.ema.average
    images = torch.stack([item["image"] for item in trainer.loader.images])
    with torch.no_grad():
        codes = average.encode(images)
    torch.testing.assert_close(average.prior.mean, codes.mean(0), atol=1e-5, rtol=1e-4)
    variance = average.prior.basis.square().sum()
    torch.testing.assert_close(variance, codes.var(0).sum(), atol=1e-6, rtol=1e-3)


def test_few_of_many_images_are_spread_over_the_stream() -> None:
    trainer = tiny_encoder_trainer()
    taken = []

    class Stream(list):
        def __getitem__(self, index):
            taken.append(index)
            return super().__getitem__(index)

    trainer.loader.images = Stream([trainer.loader.images[0]] * 10)
    PriorFitter(images=4, batch_size=3)(trainer)
    assert taken == [0, 2, 5, 7]
