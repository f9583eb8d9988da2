# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Compare what a CUDA GPU computes with what the CPU computes: ``make gpu-check``, at most 8 minutes.

Inference, refinement in fp32, bf16 and compiled, both trainings in fp32 and bf16, and the benchmark's speeds. The exit
code is 1 when a number differs by more than its tolerance; without a GPU nothing is done.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from ignite.engine import Events
from torch.overrides import TorchFunctionMode

from monai_semgan.benchmark.presets import PRESETS, Preset
from monai_semgan.benchmark.tasks import measure
from monai_semgan.bundle import Bundle
from monai_semgan.data import SemiSupervisedLoader
from monai_semgan.engines import EncoderTrainer, GANSettings, SemanticGANTrainer
from monai_semgan.inferers import WPlusInferer
from monai_semgan.losses import EncoderLoss
from monai_semgan.predictor import Prediction, Predictor

BUNDLE = "lung_xray"
# checks that begin later are left out: the last one begun ends within eight minutes
LIMIT_S = 400
TINY = Preset(64, 8, 8, {"encoder_channel_max": 8, "pyramid_channels": 8, "head_channels": 8}, 4)
# of Dice below 1, and of a loss relative to 1 + its size; TF32 and another order of sums are in the first
TOLERANCES = {"fp32": (0.01, 0.04), "bf16": (0.02, 0.1)}
RANDOM = {
    getattr(torch, name) for name in ("rand", "randn", "randint", "rand_like", "randn_like", "bernoulli", "normal")
}


class Row(NamedTuple):
    """A number of the device beside the CPU's; without a tolerance it is told only."""

    check: str
    number: str
    cpu: float
    device: float
    tolerance: float | None = None

    @property
    def good(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.tolerance is None or abs(self.device - self.cpu) <= self.tolerance


class SameRandomNumbers(TorchFunctionMode):
    """Draw random tensors on the CPU and move them to where they were asked for: all devices get the same."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func not in RANDOM:
            return func(*args, **kwargs)
        tensors = [x for x in args if isinstance(x, torch.Tensor)]
        place = kwargs.pop("device", None) or (tensors[0].device if tensors else "cpu")
        moved = [x.cpu() if isinstance(x, torch.Tensor) else x for x in args]
        return func(*moved, **kwargs).to(place)


def drawn(number: int) -> list[np.ndarray]:
    """Radiographs that the shipped weights draw, as grey bytes."""
    network = Bundle(BUNDLE).predictor(device="cpu").network
    image, _ = network.sample(number, truncation=0.8, generator=torch.Generator().manual_seed(0))
    return list(((image[:, 0] + 1) * 127.5).round().clamp(0, 255).byte().numpy())


def segmented(images: Sequence[np.ndarray], inferer: WPlusInferer, device: str) -> list[Prediction]:
    """Segment images by the shipped weights."""
    predictor = Predictor.from_bundle(BUNDLE, device=device)
    predictor.inferer = inferer
    predictions = predictor(list(images))
    for prediction in predictions:
        if prediction.failure is not None:
            raise RuntimeError(prediction.failure)
    return predictions


@cache
def segmented_by_cpu(images: int, steps: int) -> list[Prediction]:
    """What the CPU makes of drawn images in fp32."""
    return segmented(drawn(images), WPlusInferer(amp=False, steps=steps), "cpu")


def segmentation(check: str, kind: str, images: int, device: str, **settings: Any) -> Iterator[Row]:
    """Masks and reconstructions of the device beside those of the CPU in fp32."""
    wanted = segmented_by_cpu(images, settings.get("steps", 8))
    found = segmented(drawn(images), WPlusInferer(amp=kind == "bf16", **settings), device)
    overlap = [
        2 * ((a.mask > 0) & (b.mask > 0)).sum() / ((a.mask > 0).sum() + (b.mask > 0).sum())
        for a, b in zip(found, wanted, strict=True)
    ]
    dice, loss = TOLERANCES[kind]
    yield Row(check, "least Dice with the CPU's masks", 1.0, float(min(overlap)), dice)
    errors = [float(np.mean([p.reconstruction_error for p in each])) for each in (wanted, found)]
    yield Row(check, "reconstruction error", *errors, loss * errors[0])


def mean_losses(make: Callable[..., Any], steps: int, device: str, amp: bool) -> dict[str, float]:
    """Mean losses of a few steps of a training."""
    torch.manual_seed(0)
    losses: list[dict[str, float]] = []
    with SameRandomNumbers():
        trainer = make(device, amp, steps)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output[0]))
        trainer.run()
    names = [name for name, value in losses[0].items() if isinstance(value, float)]
    return {name: float(np.mean([step[name] for step in losses])) for name in names}


# of the CPU in fp32, the same for all that is compared with it
mean_losses_by_cpu = cache(partial(mean_losses, device="cpu", amp=False))


def training(check: str, kind: str, make: Callable[..., Any], steps: int, device: str) -> Iterator[Row]:
    """Losses of a training on the device beside those of the CPU in fp32, by the same random numbers."""
    found = mean_losses(make, steps, device, kind == "bf16")
    for name, value in mean_losses_by_cpu(make, steps).items():
        yield Row(check, name, value, found[name], TOLERANCES[kind][1] * (1 + abs(value)))


def loader(size: int, batch: int, steps: int) -> SemiSupervisedLoader:
    """Discs of several sizes on noise, of some with their label."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    items = []
    for radius in random.uniform(0.15, 0.4, 12):
        disc = rows**2 + columns**2 < radius**2
        image = (random.normal(-0.5, 0.1, disc.shape) + disc).clip(-1, 1)
        items.append({"image": torch.tensor(image[None]).float(), "label": torch.tensor(disc[None]).float()})
    images = [{"image": item["image"]} for item in items]
    return SemiSupervisedLoader(images, items[:4], batch_size=batch, pair_batch_size=batch, steps=steps)


def gan_trainer(preset: Preset, size: int, batch: int, device: str, amp: bool, steps: int) -> SemanticGANTrainer:
    """The first training, whose regularisers act at every second step."""
    image_discriminator, joint_discriminator = preset.discriminators(size)
    return SemanticGANTrainer(
        device=device,
        max_epochs=1,
        train_data_loader=loader(size, batch, steps),
        generator=preset.network(size).generator,
        image_discriminator=image_discriminator,
        joint_discriminator=joint_discriminator,
        settings=GANSettings(r1_interval=2, path_length_interval=2),
        amp=amp,
    )


def encoder_trainer(preset: Preset, size: int, batch: int, device: str, amp: bool, steps: int) -> EncoderTrainer:
    """The second training."""
    return EncoderTrainer(
        device=device,
        max_epochs=1,
        train_data_loader=loader(size, batch, steps),
        network=preset.network(size),
        loss=EncoderLoss(),
        amp=amp,
    )


@cache
def speed(task: str, size: int, batch: int, device: str, amp: bool) -> float:
    """Images a second of a task of the benchmark, in this process."""
    settings = {"preset": "shipped", "size": size, "batch": batch, "amp": amp, "device": device, "repeats": 1}
    return 1 / measure(task, **settings)["seconds"]


def speeds(check: str, kind: str, task: str, size: int, batch: int, device: str) -> Iterator[Row]:
    """Images a second of the device beside those of the CPU in fp32."""
    found = speed(task, size, batch, device, kind == "bf16")
    yield Row(check, f"images a second of {size} px, batch {batch}", speed(task, size, batch, "cpu", False), found)


def checks(tiny: bool, device: str) -> dict[str, Callable[[], Iterator[Row]]]:
    """All checks by name."""
    preset, size, batch, steps, images = (TINY, 32, 4, 4, 2) if tiny else (PRESETS["shipped"], 64, 4, 4, 8)
    trainings = {
        "GAN training": partial(gan_trainer, preset, size, batch),
        "encoder training": partial(encoder_trainer, preset, size, batch),
    }
    found: dict[str, Callable[[], Iterator[Row]]] = {}

    def add(name: str, kind: str, function: Callable[..., Iterator[Row]], **settings: Any) -> None:
        found[f"{name} {kind}"] = partial(function, f"{name} {kind}", kind, device=device, **settings)

    for kind in ("fp32", "bf16"):
        add("encoder alone", kind, segmentation, images=images, steps=0)
        add("refinement", kind, segmentation, images=images)
        for name, make in trainings.items():
            add(name, kind, training, make=make, steps=steps)
    add("compiled refinement", "fp32", segmentation, images=images, compile=True)
    for kind in ("fp32", "bf16"):
        for task in ("generate", "refine", "train"):
            add(f"benchmark {task}", kind, speeds, task=task, size=size, batch=batch)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and print a table.

    Args:
        arguments: the command line; ``sys.argv`` by default.

    Returns:
        The exit code: 0 when all is well or there is no GPU, 1 when something differs or fails.
    """
    parser = argparse.ArgumentParser(prog="make gpu-check", description=__doc__.splitlines()[0])
    # small networks on the CPU beside themselves, to test this program
    parser.add_argument("--cpu-itself", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="checks whose names begin so")
    options = parser.parse_args(arguments)
    if not options.cpu_itself and not torch.cuda.is_available():
        print("no CUDA GPU here: nothing was checked")
        return 0
    device = "cpu" if options.cpu_itself else "cuda"
    name = "the CPU itself" if options.cpu_itself else torch.cuda.get_device_name()
    print(f"torch {torch.__version__}, {name} beside the CPU", flush=True)
    bad, start = 0, time.perf_counter()
    for check, function in checks(options.cpu_itself, device).items():
        if options.only and not check.startswith(tuple(options.only)):
            continue
        if time.perf_counter() - start > LIMIT_S:
            bad += 1
            print(f"SKIPPED {check}: no time left on this machine", flush=True)
            continue
        try:
            rows = list(function())
        except Exception as error:
            bad += 1
            print(f"FAILED {check}: {type(error).__name__}: {error}", flush=True)
            continue
        for row in rows:
            bad += not row.good
            limit = "" if row.tolerance is None else f"  within {row.tolerance:.3g}"
            mark = "ok    " if row.good else "DIFFERS"
            print(f"{mark:7} {row.check:25} {row.number:34} {row.cpu:10.4g} {row.device:10.4g}{limit}", flush=True)
    print(f"{time.perf_counter() - start:.0f} s; {bad or 'no'} difference{'s' * (bad != 1)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
