# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What is measured: a training step of all phases, a refinement step, and the generator alone."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from monai_semgan.benchmark.machine import finished, peak_memory_mb, seconds
from monai_semgan.benchmark.presets import PRESETS, Preset
from monai_semgan.bundle import keep_freed_memory
from monai_semgan.data import SemiSupervisedLoader
from monai_semgan.engines import SemanticGANTrainer
from monai_semgan.inferers import WPlusInferer
from monai_semgan.losses import PerceptualDistance, ReconstructionLoss


class OperationCounter(TorchDispatchMode):
    """Count what torch's ``FlopCounterMode`` counts, whose module hooks break on penalties and frozen networks."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def operations(call: Callable[[], Any]) -> int:
    """Floating-point operations of all convolutions and matrix products in a call, forwards and backwards."""
    with OperationCounter() as counter:
        call()
    return counter.total


def generate(preset: Preset, size: int, batch: int, amp: bool, device: torch.device, repeats: int) -> dict[str, float]:
    """Draw images and label maps from W+ codes.

    Args:
        preset: the networks.
        size: side of the images in pixels.
        batch: images a call.
        amp: whether to run in bf16 autocast.
        device: where to run.
        repeats: number of timed calls, whose median counts.

    Returns:
        ``seconds`` and ``operations`` of an image.
    """
    generator = preset.network(size).generator.eval().requires_grad_(False)
    generator.to(device).to(memory_format=torch.channels_last)
    codes = torch.randn(batch, generator.num_codes, generator.latent_dim, device=device)

    def call() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            generator.synthesis(codes)

    counted = operations(call)
    return {"seconds": seconds(call, device, repeats=repeats) / batch, "operations": counted / batch}


@contextmanager
def perceptual_distance(kind: str) -> Iterator[PerceptualDistance]:
    """The perceptual distance; that of LPIPS with random weights, which take as long as those that were learnt."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vgg16.pth"
        if kind == "lpips":
            backbone = torchvision.models.vgg16(weights=None, init_weights=False).features
            torch.save({f"features.{name}": value for name, value in backbone.state_dict().items()}, path)
        yield PerceptualDistance(kind, weights_path=path)


def refine(preset: Preset, size: int, batch: int, amp: bool, device: torch.device, repeats: int) -> dict[str, float]:
    """Refine W+ codes; the arguments are those of :func:`generate`, ``repeats`` the number of timed steps.

    The perceptual distance is LPIPS (VGG) at the paper's width, as its authors take it, and the encoder's otherwise.

    Returns:
        ``seconds`` and ``operations`` of a step of an image.
    """
    network = preset.network(size).eval().to(device)
    images = torch.rand(batch, 1, size, size, device=device) * 2 - 1
    with perceptual_distance("lpips" if preset is PRESETS["paper"] else "encoder") as distance:
        settings: dict[str, Any] = {"loss": ReconstructionLoss(distance), "amp": amp}
        counted = operations(lambda: WPlusInferer(steps=2, **settings)(images[:1], network))
        counted -= operations(lambda: WPlusInferer(steps=1, **settings)(images[:1], network))
        ends: list[float] = []
        hook = register_optimizer_step_post_hook(lambda *_: ends.append(finished(device)))
        try:
            # the first step, like the start, is not counted
            WPlusInferer(steps=repeats + 1, **settings)(images, network)
        finally:
            hook.remove()
    return {"seconds": statistics.median(b - a for a, b in pairwise(ends)) / batch, "operations": counted}


def train(preset: Preset, size: int, batch: int, amp: bool, device: torch.device, repeats: int) -> dict[str, float]:
    """Train the GAN; the arguments are those of :func:`generate`.

    R1 and path length run every few steps: their time and operations are spread over the steps between.

    Returns:
        ``seconds`` and ``operations`` of an image.
    """
    image, label = torch.rand(1, size, size) * 2 - 1, torch.rand(1, size, size).round()
    loader = SemiSupervisedLoader(
        [{"image": image}] * 2, [{"image": image, "label": label}], batch_size=batch, pair_batch_size=batch, steps=1
    )
    network = preset.network(size)
    image_discriminator, joint_discriminator = preset.discriminators(size)
    trainer = SemanticGANTrainer(
        device=device,
        max_epochs=1,
        train_data_loader=loader,
        generator=network.generator,
        image_discriminator=image_discriminator,
        joint_discriminator=joint_discriminator,
        amp=amp,
    )
    images, labels = (x.to(device).expand(batch, -1, -1, -1).contiguous() for x in (image, label * 2 - 1))

    def step() -> None:
        """One step without the lazy regularisers, which fall on later ones, through the training's own loop."""
        trainer.state.epoch = trainer.state.iteration = 0
        trainer.run()

    parts: tuple[tuple[Callable[[], None], int], ...] = (
        (step, 1),
        (lambda: trainer.r1_phase(images, images, labels), trainer.settings.r1_interval),
        (lambda: trainer.path_length_phase(max(1, batch // 2)), trainer.settings.path_length_interval),
    )
    counted = sum(operations(call) / interval for call, interval in parts)
    timed = sum(seconds(call, device, repeats=repeats) / interval for call, interval in parts)
    return {"seconds": timed / batch, "operations": counted / batch}


TASKS: dict[str, Callable[..., dict[str, float]]] = {"train": train, "refine": refine, "generate": generate}


def measure(
    task: str, *, preset: str, size: int, batch: int, amp: bool, device: str, repeats: int = 3
) -> dict[str, float]:
    """Measure one task in this process, which should do nothing else, so that its peak memory is the task's.

    Returns:
        ``seconds`` and ``operations`` of an image (of a step of an image for ``"refine"``), and ``peak_memory_mb``.
    """
    torch.manual_seed(0)
    place = torch.device(device)
    # as the configs of trainings do
    keep_freed_memory(place)
    result = TASKS[task](PRESETS[preset], size, batch, amp, place, repeats)
    return result | {"peak_memory_mb": peak_memory_mb(place)}
