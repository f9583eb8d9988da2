# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

# Two processes descend 0.5 (w - rank)^2 + 0.5 (b - rank)^2 from weights of their own; the buffer follows the rank.
PROGRAM = """
import sys, types
import torch, torch.distributed as dist
from ignite.engine import Engine
from torch import nn
from monai_semgan.handlers.rank_synchroniser import RankSynchroniser

dist.init_process_group("gloo")
rank = dist.get_rank()
network = nn.Conv2d(2, 2, 3)
network.register_buffer("mean", torch.zeros(3))
nn.init.constant_(network.weight, 5.0 + rank)
nn.init.constant_(network.bias, 2.0 + rank)
network.to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(network.parameters(), lr=0.5)

def step(engine, batch):
    optimizer.zero_grad()
    (0.5 * (network.weight - rank).square().sum() + 0.5 * (network.bias - rank).square().sum()).backward()
    optimizer.step()
    network.mean += rank

engine = Engine(step)
engine.state.device = torch.device("cpu")
engine.checkpoint = {"network": network, "optimizer": optimizer}
RankSynchroniser().attach(engine)
engine.run([0, 1], max_epochs=1)
torch.save(network.state_dict() | {"random": torch.rand(1)}, f"{sys.argv[1]}/{rank}.pt")
dist.destroy_process_group()
"""


def test_processes_share_gradients_and_buffers_but_not_random_numbers(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launch, str(tmp_path / "program.py"), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    # the first process's weights, then w <- w - 0.5 (w - 0.5) twice; the mean over ranks of the target is 0.5
    expected = {"weight": 5.0, "bias": 2.0}
    for state in (first, second):
        for name, start in expected.items():
            torch.testing.assert_close(state[name], torch.full_like(state[name], 0.5 + (start - 0.5) / 4))
        torch.testing.assert_close(state["mean"], torch.full((3,), 1.0))
    assert set(first) == {*nn.Conv2d(2, 2, 3).state_dict(), "mean", "random"}
    assert first["random"] != second["random"]
