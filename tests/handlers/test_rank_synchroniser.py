# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_semgan.data import SemiSupervisedLoader

# A trainer whose losses differ between two processes; what becomes of its network is written to a file for each rank.
PROGRAM = """
import sys
import torch, torch.distributed as dist
from torch import nn
from monai_semgan.data import SemiSupervisedLoader
from monai_semgan.engines.semi_supervised_trainer import SemiSupervisedTrainer
from monai_semgan.handlers.rank_synchroniser import RankSynchroniser

dist.init_process_group("gloo")
rank = dist.get_rank()
network = nn.Conv2d(2, 2, 3)
network.register_buffer("mean", torch.zeros(3))
network.register_buffer("constant", torch.zeros(3))
nn.init.constant_(network.weight, 5.0 + rank)
nn.init.constant_(network.bias, 2.0 + rank)
network.to(memory_format=torch.channels_last)
items = [{"image": torch.full((1, 2, 2), float(i)), "label": torch.full((1, 2, 2), i)} for i in range(40)]
loader = SemiSupervisedLoader(items, items, batch_size=8, pair_batch_size=8, steps=2, seed=3)
seen = []


class Descent(SemiSupervisedTrainer):
    checkpoint = {"network": network}
    changing_buffers = [network.mean]
    clip = CLIP

    def _iteration(self, engine, batch):
        seen.append(torch.cat([batch["image"], batch["pair_image"]])[:, 0, 0, 0])
        self.step(LOSS, self.optimizer)
        network.mean += rank
        network.constant += rank


trainer = Descent(device="cpu", max_epochs=1, train_data_loader=loader, train_handlers=[RankSynchroniser()])
trainer.optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
error = ""
try:
    trainer.run()
except FloatingPointError as stopped:
    error = str(stopped)
state = network.state_dict() | {"random": torch.rand(1), "seen": torch.stack(seen), "error": error}
torch.save(state, f"{sys.argv[1]}/{rank}.pt")
dist.destroy_process_group()
"""


def run(folder: Path, loss: str, clip: float | None = None) -> list[dict[str, Any]]:
    """State of both processes after two steps with a loss, an expression of ``network`` and ``rank``."""
    (folder / "program.py").write_text(PROGRAM.replace("LOSS", loss).replace("CLIP", str(clip)))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launch, str(folder / "program.py"), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_processes_share_gradients_and_buffers_but_not_random_numbers(tmp_path: Path) -> None:
    squares = "0.5 * (network.weight - rank).square().sum() + 0.5 * (network.bias - rank).square().sum()"
    first, second = run(tmp_path, squares)
    # the first process's weights, then w <- w - 0.5 (w - 0.5) twice; the mean over ranks of the target is 0.5
    expected = {"weight": 5.0, "bias": 2.0}
    for rank, state in enumerate((first, second)):
        for name, start in expected.items():
            torch.testing.assert_close(state[name], torch.full_like(state[name], 0.5 + (start - 0.5) / 4))
        torch.testing.assert_close(state["mean"], torch.full((3,), 1.0))
        # what is not declared is no message
        torch.testing.assert_close(state["constant"], torch.full((3,), 2.0 * rank))
        assert not state["error"]
    others = {"mean", "constant", "random", "seen", "error"}
    assert set(first) == {*nn.Conv2d(2, 2, 3).state_dict(), *others}
    assert first["random"] != second["random"]

    # with one and the same seed each draws batches of its own, the first those of a process by itself
    assert not torch.equal(first["seen"], second["seen"])
    items = [{"image": torch.full((1, 2, 2), float(i)), "label": torch.ones(1, 2, 2)} for i in range(40)]
    alone = SemiSupervisedLoader(items, items, batch_size=8, pair_batch_size=8, steps=2, seed=3)
    drawn = [torch.cat([batch["image"], batch["pair_image"]])[:, 0, 0, 0] for batch in alone]
    assert torch.equal(first["seen"], torch.stack(drawn))


def test_the_gradient_is_clipped_after_it_is_averaged(tmp_path: Path) -> None:
    """(30, 0) and (0, 40) have the mean (15, 20) of norm 25; clipped one by one they would make (2.5, 2.5)."""
    slope = "(network.bias * torch.tensor([30.0, 0.0] if rank == 0 else [0.0, 40.0])).sum()"
    for state in run(tmp_path, slope, clip=5.0):
        # two steps of 0.5 from 2
        torch.testing.assert_close(state["bias"], torch.tensor([2.0 - 3.0, 2.0 - 4.0]))


def test_a_loss_that_is_not_finite_in_one_process_stops_all(tmp_path: Path) -> None:
    # its gradient is finite
    for state in run(tmp_path, "network.bias.sum() + (float('inf') if rank else 0.0)"):
        assert "a loss is inf, with a gradient of norm 1.4" in state["error"]
        assert "at iteration 1: lower lr or switch amp off" in state["error"]
        torch.testing.assert_close(state["bias"], torch.full((2,), 2.0))
