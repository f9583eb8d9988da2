# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Time, reconstruction loss and Dice of ways to refine real images.

``python -m monai_semgan.benchmark.refinement --datalist FILE.json --dataset_dir ROOT``

The presets are compared with Adam as Li et al. run it: 100 steps in W+ itself, image by image, in fp32. All minimise
the same reconstruction loss, which is told without the regulariser.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.metrics import compute_dice
from torch import Tensor

from monai_semgan.benchmark.machine import BUSY_PERCENT, description, other_load
from monai_semgan.benchmark.report import table
from monai_semgan.inferers import WPlusInferer
from monai_semgan.inferers.presets import PRESETS, preset_settings
from monai_semgan.losses import ReconstructionLoss
from monai_semgan.networks.label_map import logits_to_map
from monai_semgan.networks.nets import SemanticGAN
from monai_semgan.utils import keep_freed_memory

AUTHORS = {"learning_rate": 0.1, "betas": (0.9, 0.999), "precondition": False, "warmup": 0.05, "rampdown": 0.25}
ADAM = AUTHORS | {"steps": 100, "regulariser_weight": 1e-3, "tolerance": 0.0}
ADAM_NOISE = ADAM | {"optimise_noise": True, "noise_learning_rate": 0.1}
# reach the reconstruction losses of 100 steps of Adam, with no regulariser to hold them back
MATCHED = {"steps": 50, "learning_rate": 0.3, "regulariser_weight": 0.0}
MATCHED_NOISE = MATCHED | {"steps": 16, "learning_rate": 0.15, "optimise_noise": True, "noise_learning_rate": 8.0}
COLUMNS = ("refinement", "batch", "s/image", "times faster", "reconstruction loss", "Dice")


def ways(regulariser_weight: float, batch_size: int, compile: bool = False) -> dict[str, tuple[dict[str, Any], int]]:
    """Settings of ``WPlusInferer`` and batch size by the name of the way.

    Args:
        regulariser_weight: of the presets, as the bundle sets it.
        batch_size: of all ways but the authors'.
        compile: whether to compile the steps of all ways but the authors'.
    """

    def preset(name: str, **settings: Any) -> tuple[dict[str, Any], int]:
        return preset_settings(name) | {"compile": compile} | settings, batch_size

    return {
        "Adam, 100 steps": (ADAM, 1),
        "Adam, 100 steps, noise maps too": (ADAM_NOISE, 1),
        "encoder alone": preset("fast", steps=0),
        **{name: preset(name, regulariser_weight=regulariser_weight) for name in PRESETS},
        f"preconditioned, {MATCHED['steps']} steps": preset("best", **MATCHED),
        f"preconditioned, {MATCHED_NOISE['steps']} steps, noise maps too": preset("best", **MATCHED_NOISE),
    }


def measure(
    network: SemanticGAN, images: Tensor, labels: Tensor, settings: dict[str, Any], batch_size: int
) -> dict[str, float]:
    """Refine images and score the result at the network's size.

    Args:
        network: the network with its weights.
        images: in [-1, 1], ``(B, C, S, S)``.
        labels: zeros and ones, ``(B, 1, S, S)``.
        settings: of ``WPlusInferer``.
        batch_size: images refined together.

    Returns:
        ``seconds`` an image, and the means of ``loss`` and ``dice``.
    """
    inferer = WPlusInferer(**settings)
    # the first call of a kind allocates, and compiles for good what is to be compiled
    first = inferer if settings.get("compile") else WPlusInferer(**settings | {"steps": min(1, inferer.steps)})
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


def load(bundle: Path, options: argparse.Namespace) -> tuple[SemanticGAN, Tensor, Tensor, float]:
    """Read network, images, labels and the regulariser's weight by the configs of a bundle."""
    ckpt_path = options.ckpt_path or bundle / "models" / "model.pt"
    settings = {
        "datalist": str(options.datalist.resolve()),
        "dataset_dir": str(options.dataset_dir.resolve()),
        "val_list": options.list_key,
        "num_workers": 0,
    }
    state = torch.load(ckpt_path, weights_only=True)
    # the configs of a bundle name each other relative to its folder
    os.chdir(bundle)
    training = ConfigParser(ConfigParser.load_config_file("configs/train_encoder.yaml"))
    training.update(settings)
    inference = ConfigParser(ConfigParser.load_config_file("configs/inference.yaml"))
    network = training.get_parsed_content("network_def")
    network.load_state_dict(state)
    dataset = training.get_parsed_content("validate::dataset")
    items = [dataset[index * len(dataset) // options.images] for index in range(min(options.images, len(dataset)))]
    images, labels = (torch.stack([torch.as_tensor(item[key]) for item in items]) for key in ("image", "label"))
    network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return network, images, labels, inference.get("inferer::regulariser_weight")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; the exit code is 2 when the machine is busy."""
    parser = argparse.ArgumentParser(
        prog="python -m monai_semgan.benchmark.refinement", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--bundle", type=Path, default=Path("bundles/lung_xray_segmentation"))
    parser.add_argument("--ckpt_path", type=lambda path: Path(path).resolve(), help="by default the bundle's")
    parser.add_argument("--datalist", type=Path, required=True)
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--list_key", default="val")
    parser.add_argument("--images", type=int, default=16, help="number of images, spread evenly over the list")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--output", type=lambda path: Path(path).resolve(), default=Path("refinement.json").resolve())
    parser.add_argument("--compile", action="store_true", help="compile the steps of all ways but the authors'")
    parser.add_argument("--busy", action="store_true", help="measure although other programs are running")
    options = parser.parse_args(arguments)
    busy = other_load()
    if busy > BUSY_PERCENT and not options.busy:
        print(f"other programs take {busy:.0f} % of the processors: end them, or say --busy", file=sys.stderr)
        return 2
    # as the engines do
    keep_freed_memory()
    network, images, labels, weight = load(options.bundle.resolve(), options)
    results: dict[str, dict[str, float]] = {}
    rows = []
    for name, (settings, batch_size) in ways(weight, options.batch_size, options.compile).items():
        result = results[name] = measure(network, images, labels, settings, batch_size)
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
