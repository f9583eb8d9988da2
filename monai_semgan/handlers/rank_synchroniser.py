# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Data-parallel training of several networks."""

from __future__ import annotations

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import nn

from monai_semgan.engines.semi_supervised_trainer import average_over_ranks
from monai_semgan.handlers.protocols import Synchronisable


class RankSynchroniser:
    """Keep the networks of all processes equal, whatever number of networks and optimisers a trainer has.

    (``DistributedDataParallel`` wraps the ``forward`` of one network; the trainers call other methods too.) At the
    start all take the first process's state and random numbers of their own. The trainer averages gradients in its
    steps (:meth:`monai_semgan.engines.SemiSupervisedTrainer.step`); buffers that training changes, such as the mean w,
    are averaged here after every iteration.

    The processes have to take their steps in the same order, each on batches of its own. Half-lives and batch sizes
    of a trainer count the images of one process.
    """

    def attach(self, engine: Engine) -> None:
        """Follow the engine; attach after the checkpoint handler."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.average_buffers)

    def start(self, engine: Synchronisable) -> None:
        """Spread the first process's networks, and draw a seed for each process."""
        for item in engine.checkpoint.values():
            if isinstance(item, nn.Module):
                for value in item.state_dict().values():
                    # weights may lie in memory with their channels last, messages may not
                    message = value.contiguous()
                    dist.broadcast(message, src=0)
                    value.copy_(message)
        seed = torch.randint(2**31, (), device=engine.state.device)
        dist.broadcast(seed, src=0)
        torch.manual_seed(seed.item() + dist.get_rank())

    def average_buffers(self, engine: Synchronisable) -> None:
        """Average the buffers that training changes."""
        average_over_ranks(engine.changing_buffers)
