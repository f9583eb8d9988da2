# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Demonstrate a bundle without data: its own generator draws images with their true label, the bundle segments them.

``semgan demo lung_xray``
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from monai_semgan.bundle import INTERRUPTED, Bundle
from monai_semgan.metrics import REPORTED_SCORES
from monai_semgan.networks.label_map import map_to_label
from monai_semgan.networks.nets import SemanticGAN

CONFIGS = ("inference.yaml", "evaluate.yaml")
REPORT = "report.csv"
# a drawn volume has voxels of so many mm, its axes run to the back, to the left and to the head
VOLUME_AFFINE = np.array([[0, -3, 0, 0], [-3, 0, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]])
SLICES = 24


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


@torch.no_grad()
def draw_volumes(
    network: SemanticGAN, folder: Path, *, window: tuple[float, float], num: int = 6, truncation: float = 0.8
) -> Path:
    """Write CT volumes with their labels, drawn by a network, and the datalist that names them.

    A volume is a walk from one sample's code in W+ to another's on a straight line, a slice a step.

    Args:
        network: a trained network of axial slices.
        folder: where ``images/``, ``labels/`` and ``datalist.json`` are written.
        window: level and width of the window that the network sees, in Hounsfield units.
        num: number of volumes; volume k is drawn from seed k, whatever ``num`` is.
        truncation: 1 for the full variety of slices, towards 0 for slices nearer the mean one.

    Returns:
        Path of the datalist.
    """
    level, width = window
    items = []
    for seed in range(num):
        ends = network.prior.sample(2, truncation=truncation, generator=torch.Generator().manual_seed(seed))
        image, logits = network.decode(torch.lerp(ends[:1], ends[1:], torch.linspace(0, 1, SLICES)[:, None, None]))
        units = (level + image.clamp(-1, 1) * width / 2).round()
        item = {"image": f"images/sample_{seed}.nii.gz", "label": f"labels/sample_{seed}.nii.gz"}
        for key, values, dtype in (("image", units, np.int16), ("label", map_to_label(logits), np.uint8)):
            volume = nib.Nifti1Image(values[:, 0].movedim(0, -1).numpy().astype(dtype), VOLUME_AFFINE)
            volume.header.set_xyzt_units("mm")
            (folder / item[key]).parent.mkdir(parents=True, exist_ok=True)
            nib.save(volume, folder / item[key])
        items.append({**item, "intensity_scale": "hu"})
    datalist = folder / "datalist.json"
    datalist.write_text(json.dumps({"test": items}, indent=2) + "\n", encoding="utf-8")
    return datalist


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


def demo(bundle: Bundle, output: Path, number: int = 6) -> int:
    """Draw samples with a bundle's network, segment and score them, and tell what was written where.

    Args:
        bundle: the bundle, with weights.
        output: folder for ``samples/`` and ``results/``.
        number: number of samples.

    Returns:
        The exit code, 0 when every image was segmented.

    Raises:
        FileNotFoundError: when the bundle has no weights.
        ValueError: when there is nothing to draw.
    """
    if number < 1:
        raise ValueError(f"number is {number}, it must be at least 1")
    samples, results = output / "samples", output / "results"
    # what an earlier run left must not be told as the result of one that stops at once
    (results / REPORT).unlink(missing_ok=True)
    network: Any = bundle.predictor(device="cpu").network
    if bundle.window is not None:
        datalist = draw_volumes(network, samples, num=number, window=bundle.window)
    else:
        datalist = draw_samples(network, samples, num=number)
    print(f"{bundle.name} drew {number} images with their true labels: {samples}", flush=True)
    code = 0
    try:
        bundle.run(*CONFIGS, datalist=datalist, dataset_dir=samples, list_key="test", output_dir=results)
    except SystemExit as error:
        if error.code == INTERRUPTED:
            raise
        print(error)
        code = 1
    if (results / REPORT).is_file():
        print(f"\n{summary(results)}")
        print("These scores show that all works. They say nothing of real images: the model drew the images.")
    return code
