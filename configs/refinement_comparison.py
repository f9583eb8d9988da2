# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Time, reconstruction loss and Dice of ways to refine real images.

``python configs/refinement_comparison.py --datalist FILE.json --dataset_dir ROOT``

The presets are compared with Adam as Li et al. run it: 100 steps in W+ itself, image by image, in fp32. All minimise
the same reconstruction loss, which is told without the regulariser.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.metrics import compute_dice
from torch import Tensor

from monai_semgan.benchmark.machine import BUSY_PERCENT, description, other_load
from monai_semgan.benchmark.report import table
from monai_semgan.bundle import INFERENCE, Bundle, keep_freed_memory
from monai_semgan.inferers import PRESETS, WPlusInferer
from monai_semgan.losses import ReconstructionLoss
from monai_semgan.networks.blocks import StyleBlock
from monai_semgan.networks.label_map import logits_to_map
from monai_semgan.networks.nets import SemanticGAN
from monai_semgan.networks.weights import load_weights

ADAM: dict[str, Any] = {
    "steps": 100,
    "learning_rate": 0.1,
    "regulariser_weight": 1e-3,
    "precondition": False,
    "amp": False,
}
ADAM_NOISE = ADAM | {"noise_learning_rate": 0.1}
# reach the reconstruction losses of 100 steps of Adam, with no regulariser to hold them back
MATCHED: dict[str, Any] = {"steps": 50, "learning_rate": 0.3, "regulariser_weight": 0.0}
MATCHED_NOISE = MATCHED | {"steps": 16, "learning_rate": 0.15, "noise_learning_rate": 8.0}
COLUMNS = ("refinement", "batch", "s/image", "times faster", "reconstruction loss", "Dice")


class AuthorsInferer(WPlusInferer):
    """W+ optimisation with Adam's own memory and the learning rate's schedule of StyleGAN2's projector."""

    betas = (0.9, 0.999)
    warmup = 0.05
    rampdown = 0.25


class NoiseInferer(WPlusInferer):
    """W+ optimisation that refines the generator's noise maps too; the codes alone then no longer redraw the result.

    Args:
        noise_learning_rate: highest learning rate of the noise maps, in standard deviations of noise.
        settings: of :class:`monai_semgan.inferers.WPlusInferer`.
    """

    def __init__(self, *, noise_learning_rate: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.noise_learning_rate = noise_learning_rate

    def moves(self, first: Tensor, network: SemanticGAN) -> list[dict[str, Any]]:
        """What Adam moves: the codes, and from the fixed ones on the noise maps of each image."""
        blocks = [block for block in network.generator.modules() if isinstance(block, StyleBlock)]
        noise = [block.fixed_noise.repeat(len(first), 1, 1, 1).requires_grad_() for block in blocks]
        # the gradients of a map are as small as its pixels are many
        return [*super().moves(first, network), {"params": noise, "lr": self.noise_learning_rate, "eps": 1e-8}]


class AuthorsNoiseInferer(AuthorsInferer, NoiseInferer):
    """Both: W+ codes and noise maps, as the paper's authors refine them."""


def ways(regulariser_weight: float, batch_size: int, compile: bool = False) -> dict[str, tuple[WPlusInferer, int]]:
    """Inferer and batch size by the name of the way.

    Args:
        regulariser_weight: of the presets, as the bundle sets it.
        batch_size: of all ways but the authors'.
        compile: whether to compile the steps of all ways but the authors'.
    """

    def preset(name: str, **settings: Any) -> tuple[WPlusInferer, int]:
        inferer = WPlusInferer.from_preset(name, regulariser_weight=regulariser_weight, compile=compile, **settings)
        return inferer, batch_size

    return {
        "Adam, 100 steps": (AuthorsInferer(**ADAM), 1),
        "Adam, 100 steps, noise maps too": (AuthorsNoiseInferer(**ADAM_NOISE), 1),
        "encoder alone": preset("fast", steps=0),
        **{name: preset(name) for name in PRESETS},
        f"preconditioned, {MATCHED['steps']} steps": (WPlusInferer(**MATCHED, compile=compile), batch_size),
        f"preconditioned, {MATCHED_NOISE['steps']} steps, noise maps too": (
            NoiseInferer(**MATCHED_NOISE, compile=compile),
            batch_size,
        ),
    }


def measure(
    network: SemanticGAN, images: Tensor, labels: Tensor, inferer: WPlusInferer, batch_size: int
) -> dict[str, float]:
    """Refine images and score the result at the network's size.

    Args:
        network: the network with its weights.
        images: in [-1, 1], ``(B, C, S, S)``.
        labels: zeros and ones, ``(B, 1, S, S)``.
        inferer: what refines.
        batch_size: images refined together.

    Returns:
        ``seconds`` an image, and the means of ``loss`` and ``dice``.
    """
    # the first step of a kind allocates, and compiles for good what is to be compiled
    first = copy.copy(inferer)
    first.steps = min(1, inferer.steps)
    first(images[:batch_size], network)
    start = time.perf_counter()
    results = [inferer.refine(batch, network) for batch in images.split(batch_size)]
    seconds = (time.perf_counter() - start) / len(images)
    loss = ReconstructionLoss("encoder")
    with torch.no_grad():
        losses = torch.cat(
            [loss(r.reconstruction, batch, network) for r, batch in zip(results, images.split(batch_size))]
        )
    masks = logits_to_map(torch.cat([result.logits for result in results])) > 0
    dice = compute_dice(masks.float(), labels, include_background=True)
    return {"seconds": seconds, "loss": losses.mean().item(), "dice": dice.nanmean().item()}


def load(bundle: Bundle, options: argparse.Namespace) -> tuple[SemanticGAN, Tensor, Tensor, float]:
    """Read network, images, labels and the regulariser's weight by the configs of a bundle."""
    training = bundle.parser(
        "train_encoder.yaml",
        datalist=options.datalist.resolve(),
        dataset_dir=options.dataset_dir.resolve(),
        val_list=options.list_key,
        num_workers=0,
    )
    network = training.get_parsed_content("network_def")
    load_weights(network, options.ckpt_path or bundle.root / "models" / "model.pt")
    dataset = training.get_parsed_content("validate::dataset")
    items = [dataset[index * len(dataset) // options.images] for index in range(min(options.images, len(dataset)))]
    images, labels = (torch.stack([torch.as_tensor(item[key]) for item in items]) for key in ("image", "label"))
    network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return network, images, labels, bundle.read(INFERENCE)["inferer"]["regulariser_weight"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; the exit code is 2 when the machine is busy."""
    parser = argparse.ArgumentParser(
        prog="python configs/refinement_comparison.py", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--bundle", default="lung_xray", help="folder or name of a bundle of images")
    parser.add_argument("--ckpt_path", type=Path, help="by default the bundle's")
    parser.add_argument("--datalist", type=Path, required=True)
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--list_key", default="val")
    parser.add_argument("--images", type=int, default=16, help="number of images, spread evenly over the list")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--output", type=Path, default=Path("refinement.json"))
    parser.add_argument("--compile", action="store_true", help="compile the steps of all ways but the authors'")
    parser.add_argument("--busy", action="store_true", help="measure although other programs are running")
    options = parser.parse_args(arguments)
    busy = other_load()
    if busy > BUSY_PERCENT and not options.busy:
        print(f"other programs take {busy:.0f} % of the processors: end them, or say --busy", file=sys.stderr)
        return 2
    # as the engines do
    keep_freed_memory()
    network, images, labels, weight = load(Bundle(options.bundle), options)
    results: dict[str, dict[str, float]] = {}
    rows = []
    for name, (inferer, batch_size) in ways(weight, options.batch_size, options.compile).items():
        result = results[name] = measure(network, images, labels, inferer, batch_size)
        faster = next(iter(results.values()))["seconds"] / result["seconds"]
        print(f"{name}: {result['seconds']:.3g} s an image", file=sys.stderr)
        rows.append(
            (name, str(batch_size), f"{result['seconds']:.3g}", f"{faster:.1f}", f"{result['loss']:.4f}")
            + (f"{result['dice']:.4f}",)
        )
    report = {"machine": description(images.device), "other_load_percent": busy, "images": len(images)}
    options.output.write_text(json.dumps(report | {"results": results}, indent=2) + "\n", encoding="utf-8")
    print(table(rows, COLUMNS))
    print(f"JSON: {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
