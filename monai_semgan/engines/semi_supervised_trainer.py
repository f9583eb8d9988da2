# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What both trainers share: device, precision, averages, checkpoints, extensions and a step of an optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
from monai.engines import IterationEvents, Trainer
from torch import Tensor, nn

from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader
from monai_semgan.engines.ema import ExponentialMovingAverage
from monai_semgan.engines.extension import Extension, Part, SemiSupervisedBatch
from monai_semgan.networks.label_map import label_to_map
from monai_semgan.networks.precision import bf16_autocast, read_amp

# losses stay below 100 in trainings that go well; this one will not come back, and its weights are not to be saved
DIVERGED = 1e4

AnyExtension = TypeVar("AnyExtension", bound=Extension)


class SemiSupervisedTrainer(Trainer, Generic[AnyExtension]):
    """Base of trainers that learn from an image stream and a few labelled pairs.

    A subclass makes ``ema`` in its constructor, calls :meth:`attach_extensions` at its end, and computes an iteration.

    Args:
        device: device to train on.
        max_epochs: number of epochs of ``len(train_data_loader)`` steps.
        train_data_loader: joins the image and the pair stream.
        extensions: what goes beyond the paper, by name, in the order in which it acts; of the class ``extends``.
        amp: whether to run in bf16 autocast; ``"auto"`` does where the processor computes in bf16.
        train_handlers: MONAI's or ignite's handlers.

    Raises:
        TypeError: for an extension of another training.
    """

    extends: type[Extension] = Extension
    # largest norm of an optimiser's gradient
    clip: float | None = None
    ema: ExponentialMovingAverage

    def __init__(
        self,
        *,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: SemiSupervisedLoader,
        extensions: Mapping[str, AnyExtension] | None = None,
        amp: bool | str = False,
        train_handlers: Sequence[Any] | None = None,
    ) -> None:
        for name, extension in (extensions or {}).items():
            if not isinstance(extension, self.extends):
                raise TypeError(f"extension {name} is {extension!r}, this training takes a {self.extends.__name__}")
        super().__init__(
            device=torch.device(device),
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            epoch_length=len(train_data_loader),
            handlers=train_handlers,
        )
        # not MONAI's own amp, which makes a gradient scaler that bf16 has no use for
        self.bf16 = read_amp(amp)
        self.loader = train_data_loader
        self.extensions = dict(extensions or {})
        # last values of losses that do not run at every step
        self.lazy: dict[str, float] = {}

    def attach_extensions(self) -> None:
        """Introduce the extensions to the trainer, which is complete."""
        for extension in self.extensions.values():
            extension.attach(self)

    @property
    def checkpoint(self) -> dict[str, Any]:
        """Everything whose state a resumed run needs, by name; a subclass adds networks and optimisers."""
        parts = {f"extensions::{name}": extension.checkpoint for name, extension in self.extensions.items()}
        return {"ema": self.ema} | {name: part for name, part in parts.items() if part is not None}

    @property
    def changing_buffers(self) -> list[Tensor]:
        """Tensors that training changes by other ways than gradients, for several processes to average."""
        return [buffer for extension in self.extensions.values() for buffer in extension.changing_buffers]

    def to_device(self, network: nn.Module) -> Any:
        """Put a network on the training's device, its channels last in memory."""
        return network.to(self.state.device).to(memory_format=torch.channels_last)

    def autocast(self) -> torch.autocast:
        """bf16 autocast on the training device, or a context that switches it off."""
        return bf16_autocast(self.state.device, self.bf16)

    def prepare(self, batch: Mapping[str, Tensor], label_channels: int) -> SemiSupervisedBatch:
        """Move the loader's batch to the device, make label maps, and let the extensions change it."""
        parts = {name: value.to(self.state.device, non_blocking=True) for name, value in batch.items()}
        pairs = Part(parts["pair_image"], label_to_map(parts["pair_label"], label_channels))
        images = Part(parts.get("image", pairs.image[:0]), parts.get("label_map"))
        prepared = SemiSupervisedBatch(images, pairs)
        for extension in self.extensions.values():
            extension.prepare(prepared)
        return prepared

    def step(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Back-propagate and update, by the gradient of all processes' batches, clipped after it is averaged.

        Raises:
            FloatingPointError: in all processes, when the loss of one or the norm of the gradient is NaN or infinite,
                or the mean of their losses is beyond ``DIVERGED``.
        """
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        value = loss.detach().clone()
        average_over_ranks([value, *gradients])
        norm = torch.nn.utils.get_total_norm(gradients)
        if not torch.isfinite(norm) or not value.abs() < DIVERGED:
            raise FloatingPointError(
                f"a loss is {value.item():.4g}, with a gradient of norm {norm.item():.4g}, at iteration "
                f"{self.state.iteration}: lower lr or switch amp off; the last checkpoint is intact"
            )
        if self.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(weights, self.clip, norm)
        optimizer.step()

    def decollate(self, output: dict[str, Any]) -> Any:
        """Make an iteration's output one dictionary per image, the form that MONAI's handlers take."""
        self.state.output = output
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output


@torch.no_grad()
def average_over_ranks(values: Sequence[Tensor]) -> None:
    """Replace floating-point tensors of one device by their mean over all processes, in one message.

    All processes give the same shapes in the same order; one process keeps its own.
    """
    if not values or not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return
    message = torch.cat([value.reshape(-1) for value in values])
    dist.all_reduce(message)
    message /= dist.get_world_size()
    for value, mean in zip(values, message.split([value.numel() for value in values]), strict=True):
        value.copy_(mean.view(value.shape))
