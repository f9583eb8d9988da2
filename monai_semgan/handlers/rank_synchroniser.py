# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Data-parallel training of several networks."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import Tensor, nn


class RankSynchroniser:
    """Keep the networks of all processes equal, whatever number of networks and optimisers a trainer has.

    (``DistributedDataParallel`` wraps the ``forward`` of one network; the trainers call other methods too.) At the
    start all take the first process's state and random numbers of their own. Gradients are averaged before every
    step of an optimiser, floating-point buffers such as the mean w after every iteration.

    The processes have to take their steps in the same order, each on batches of its own. Half-lives and batch sizes
    of a trainer count the images of one process.
    """

    def attach(self, engine: Engine) -> None:
        """Follow the engine; attach after the checkpoint handler. The engine needs ``checkpoint``."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.average_buffers)

    def start(self, engine: Any) -> None:
        """Spread the first process's networks, and draw a seed for each process."""
        for item in engine.checkpoint.values():
            if isinstance(item, nn.Module):
                for value in item.state_dict().values():
                    # weights may lie in memory with their channels last, messages may not
                    message = value.contiguous()
                    dist.broadcast(message, src=0)
                    value.copy_(message)
            if isinstance(item, torch.optim.Optimizer):
                item.register_step_pre_hook(average_gradients)
        seed = torch.randint(2**31, (), device=engine.state.device)
        dist.broadcast(seed, src=0)
        torch.manual_seed(seed.item() + dist.get_rank())

    def average_buffers(self, engine: Any) -> None:
        """Average the floating-point buffers of all networks."""
        modules = [item for item in engine.checkpoint.values() if isinstance(item, nn.Module)]
        average([value for module in modules for value in module.buffers() if value.is_floating_point()])


def average_gradients(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    """Average the gradients that an optimiser is about to use; a hook of its step."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    average([weight.grad for weight in weights if weight.grad is not None])


@torch.no_grad()
def average(values: list[Tensor]) -> None:
    """Replace tensors by their mean over all processes, in one message."""
    message = torch.cat([value.reshape(-1) for value in values])
    dist.all_reduce(message)
    message /= dist.get_world_size()
    for value, mean in zip(values, message.split([value.numel() for value in values]), strict=True):
        value.copy_(mean.view(value.shape))
