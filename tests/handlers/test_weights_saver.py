# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_semgan.handlers import WeightsSaver


def test_the_average_is_written_at_the_end_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "models" / "model.pt"
    engine = Engine(lambda engine, batch: engine.ema.average.bias.data.add_(1))
    engine.ema = SimpleNamespace(average=nn.Linear(2, 1))
    before = engine.ema.average.bias.item()
    WeightsSaver(path).attach(engine)
    engine.run([0, 1], max_epochs=2)
    state = torch.load(path, weights_only=True)
    assert list(state) == ["weight", "bias"]
    assert state["bias"].item() == pytest.approx(before + 4)
    assert list(path.parent.iterdir()) == [path]
