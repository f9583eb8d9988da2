# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Demonstrate a bundle without data: its own generator draws images with their true label, the bundle segments them.

``python -m monai_semgan.apps.demo --bundle bundles/lung_xray_segmentation --output demo_output``
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from PIL import Image
from torch import Tensor

from monai_semgan.metrics import REPORTED_SCORES
from monai_semgan.networks.nets import SemanticGAN

CONFIGS = ("configs/inference.yaml", "configs/evaluate.yaml")
REPORT = "report.csv"


def load_network(bundle: Path) -> SemanticGAN:
    """Build a bundle's ``network_def`` with its shipped weights.

    Args:
        bundle: the bundle's folder.

    Returns:
        The network in evaluation mode.

    Raises:
        FileNotFoundError: when the bundle lacks ``configs/inference.yaml`` or ``models/model.pt``.
    """
    config, weights = bundle / CONFIGS[0], bundle / "models" / "model.pt"
    for path in (config, weights):
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: --bundle must name a bundle with its weights")
    parser = ConfigParser()
    parser.read_config(str(config))
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


def to_uint8(image: Tensor) -> np.ndarray:
    """Turn one image in [-1, 1], ``(1 or 3, H, W)``, into grey ``(H, W)`` or RGB ``(H, W, 3)`` bytes."""
    levels = ((image + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    return levels[0] if levels.shape[0] == 1 else levels.transpose(1, 2, 0)


def to_label(logits: Tensor) -> np.ndarray:
    """Turn the label logits of one image, ``(L, H, W)``, into bytes: 0 and 255 if binary, else class indices."""
    label = (logits[0] > 0).to(torch.uint8) * 255 if logits.shape[0] == 1 else logits.argmax(0).to(torch.uint8)
    return label.numpy()


def draw_samples(network: SemanticGAN, folder: Path, *, num: int = 6, truncation: float = 0.8) -> Path:
    """Write images with their labels, drawn by a network, and the datalist that names them.

    Args:
        network: a trained network.
        folder: where ``images/``, ``labels/`` and ``datalist.json`` are written.
        num: number of images; image k is drawn from seed k, whatever ``num`` is.
        truncation: 1 for the full variety of images, towards 0 for images nearer the mean one.

    Returns:
        Path of the datalist.
    """
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    items = []
    for seed in range(num):
        seeded = torch.Generator().manual_seed(seed)
        image, logits = network.sample(1, truncation=truncation, generator=seeded)
        item = {"image": f"images/sample_{seed}.png", "label": f"labels/sample_{seed}.png"}
        Image.fromarray(to_uint8(image[0])).save(folder / item["image"])
        Image.fromarray(to_label(logits[0])).save(folder / item["label"])
        items.append(item)
    datalist = folder / "datalist.json"
    datalist.write_text(json.dumps({"test": items}, indent=2) + "\n", encoding="utf-8")
    return datalist


def segment(bundle: Path, datalist: Path, output: Path) -> int:
    """Segment and evaluate the images of a datalist with a bundle, by the command that a user would type.

    Args:
        bundle: the bundle's folder.
        datalist: file with the list "test"; its paths start from its own folder.
        output: folder for masks, overlays and CSV files.

    Returns:
        The command's exit code.
    """
    options = {
        "config_file": f"[{','.join(map(repr, CONFIGS))}]",
        "datalist": datalist,
        "dataset_dir": datalist.parent,
        "list_key": "test",
        "output_dir": output,
    }
    command = " ".join(f'--{name} "{value}"' for name, value in options.items())
    print(f'cd "{bundle}"\npython -m monai.bundle run {command}\n', flush=True)
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return subprocess.run([sys.executable, "-m", "monai.bundle", "run", *arguments], cwd=bundle).returncode


def summary(output: Path) -> str:
    """Tell from a run's ``report.csv`` what was written where: a line per image with its first score, and the mean."""
    with (output / REPORT).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        score = next(name for name in reader.fieldnames or () if name in REPORTED_SCORES)
        rows = list(reader)
    # an image that failed has no score
    scores = [float(row[score]) for row in rows if row[score]]
    width = max(6, len(score))
    lines = [f"{score:>{width}}  image"]
    for row in rows:
        name = row["file"] if row["mask"] else f"{row['file']}, {row['status']}: {row['message']}"
        lines.append(f"{float(row[score] or 'nan'):{width}.3f}  {name}")
    lines += [f"{np.mean(scores) if scores else float('nan'):{width}.3f}  mean of {len(scores)} images", ""]
    for column in ("mask", "overlay"):
        folders = sorted({str((output / row[column]).parent) for row in rows if row[column]})
        lines.append(f"{column}s: {', '.join(folders)}")
    lines.append(f"CSV: {output / REPORT}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Args:
        arguments: the command line; ``sys.argv`` by default.

    Returns:
        The exit code, 0 when every image was segmented.
    """
    parser = argparse.ArgumentParser(prog="python -m monai_semgan.apps.demo", description="Demonstrate a bundle.")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle, with its weights")
    parser.add_argument("--output", type=Path, required=True, help="folder for the samples and the results")
    parser.add_argument("--num", type=int, default=6, help="number of samples (default: 6)")
    options = parser.parse_args(arguments)
    if options.num < 1:
        parser.error(f"--num is {options.num}, it must be at least 1")
    bundle, output = options.bundle.resolve(), options.output.resolve()
    samples, results = output / "samples", output / "results"
    try:
        network = load_network(bundle)
    except FileNotFoundError as error:
        parser.error(str(error))
    # what an earlier run left must not be told as the result of one that stops at once
    (results / REPORT).unlink(missing_ok=True)
    datalist = draw_samples(network, samples, num=options.num)
    print(f"Drew {options.num} images with their true labels: {samples}", flush=True)
    code = segment(bundle, datalist, results)
    if (results / REPORT).is_file():
        print(f"\n{summary(results)}")
        print("These scores show that all works. They say nothing of real images: the model drew the images.")
    return code


if __name__ == "__main__":
    sys.exit(main())
