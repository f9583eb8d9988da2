# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator
from torch import nn

from monai_semgan.handlers import AverageValidationHandler


def test_the_average_is_validated_at_the_interval() -> None:
    seen: list[Any] = []
    trained, average = nn.Linear(1, 1), nn.Linear(1, 1)
    validator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[{"image": torch.zeros(1, 1), "label": torch.zeros(1, 1)}],
        network=trained,
        inferer=lambda inputs, network: (seen.append(network), network(inputs))[1],
    )
    trainer = Engine(lambda engine, batch: None)
    AverageValidationHandler(interval=2, validator=validator).attach(trainer)
    # a trainer makes its average after its handlers are attached
    trainer.ema = SimpleNamespace(average=average)
    trainer.run([0], max_epochs=5)
    assert len(seen) == 2
    assert all(network is average for network in seen)
