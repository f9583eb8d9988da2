# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_semgan.handlers import WeightsLoader


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"model": state}])
def test_weights_are_loaded(tmp_path: Path, wrap) -> None:
    source, target = nn.Linear(2, 3), nn.Linear(2, 3)
    torch.save(wrap(source.state_dict()), tmp_path / "model.pt")
    engine = Engine(lambda engine, batch: None)
    WeightsLoader(str(tmp_path / "model.pt"), target).attach(engine)
    engine.run([0])
    assert torch.equal(target.weight, source.weight)


def test_wrong_and_missing_weights(tmp_path: Path) -> None:
    loader = WeightsLoader(str(tmp_path / "none.pt"), nn.Linear(2, 3))
    with pytest.raises(FileNotFoundError, match=r"weights .*none\.pt do not exist: .* --ckpt_path"):
        loader(Engine(lambda engine, batch: None))
    torch.save(nn.Linear(2, 4).state_dict(), tmp_path / "other.pt")
    (tmp_path / "junk.pt").write_text("junk")
    for name in ("other.pt", "junk.pt"):
        engine = Engine(lambda engine, batch: None)
        WeightsLoader(str(tmp_path / name), nn.Linear(2, 3)).attach(engine)
        with pytest.raises(ValueError, match=f"{name} are damaged or another network's: "):
            engine.run([0])
