# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A bundle with a small network, and images small enough to train it on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import yaml
from PIL import Image

from monai_semgan.networks.nets import SemanticGAN

TINY_NETWORK = {
    "size": 32,
    "latent_dim": 8,
    "channel_base": 64,
    "channel_max": 8,
    "mapping_layers": 2,
    "encoder_channel_max": 8,
    "pyramid_channels": 8,
    "head_channels": 8,
}
CLASSES = ("right lung", "heart", "left lung")
LISTS = {"unlabeled": 3, "train": 3, "train_175": 3, "train_2": 2, "train_3": 3, "val": 2, "test": 2, "ood_test": 2}


def tiny_bundle(folder: Path, repository: Path, name: str = "lung_xray_segmentation") -> Path:
    """Copy the configs of a bundle into a folder and make its network small."""
    bundle = folder / "bundles" / "tiny"
    shutil.copytree(repository / "bundles" / name / "configs", bundle / "configs")
    path = bundle / "configs" / "inference.yaml"
    config = yaml.safe_load(path.read_text())
    config["network_def"] |= TINY_NETWORK
    config["displayable_configs"]["refine_steps"] = 1
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return bundle


def several_classes(bundle: Path, classes: tuple[str, ...] = CLASSES) -> Path:
    """Give a bundle other classes, and nothing else."""
    path = bundle / "configs" / "inference.yaml"
    config = yaml.safe_load(path.read_text())
    config["classes"] = {name: [250 - 90 * index, 90 * index, 60] for index, name in enumerate(classes)}
    config["measurements"] = {"volume": "ml"} if "volume" in config["measurements"] else {"area": "cm2"}
    config["largest_components"] = {classes[0]: 1}
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return bundle


def labelled(shape: tuple[int, ...], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image of three ellipsoids, brighter from class to class, and its label of their indices."""
    grid = np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij")
    label = np.zeros(shape, np.uint8)
    for index, centre in enumerate((-0.55, 0.0, 0.6), 1):
        radius = random.uniform(0.25, 0.35)
        inside = ((grid[0] - centre) / radius) ** 2 + sum((axis / 0.7) ** 2 for axis in grid[1:]) < 1
        label[inside] = index
    return random.normal(40, 8, shape) + 50.0 * label + 10 * grid[0], label


def classes_data(folder: Path, volumes: bool = False) -> Path:
    """Write pictures, or CT volumes, of three classes with their labels of indices; returns the datalist."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    datalist: dict[str, list[dict[str, str]]] = {}
    for name, number in LISTS.items():
        for index in range(number if name in ("unlabeled", "train", "val", "test") else 0):
            image, label = labelled((24, 28, 6) if volumes else (28, 22), random)
            ending = ".nii.gz" if volumes else ".png"
            item = {"image": f"{name}_{index}{ending}", "label": f"{name}_{index}_label{ending}"}
            for key, values in (("image", image - 200 * volumes), ("label", label)):
                if volumes:
                    stored = values.round().astype(np.int16 if key == "image" else np.uint8)
                    nib.save(nib.Nifti1Image(stored, np.diag([-2.0, -2.0, 5.0, 1.0])), folder / item[key])
                else:
                    Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(folder / item[key])
            datalist.setdefault(name, []).append(item if name != "unlabeled" else {"image": item["image"]})
    path = folder / "datalist.json"
    path.write_text(json.dumps(datalist))
    return path


def tiny_data(folder: Path, colour: tuple[float, ...] = ()) -> Path:
    """Write pictures of two bright ellipses on noise with their masks, upright ones; returns the datalist.

    They are grey, or RGB by a gain for each channel.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:24, :20]
    datalist: dict[str, list[dict[str, str]]] = {}
    for name, number in LISTS.items():
        for index in range(number):
            height = random.uniform(5, 8)
            mask = sum(((rows - 12) / height) ** 2 + ((columns - x) / 3) ** 2 < 1 for x in (5, 14)) > 0
            image = random.normal(60, 10, mask.shape) + 120 * mask + rows
            image = image[..., None] * colour if colour else image
            item = {"image": f"{name}_{index}.png", "label": f"{name}_{index}_label.png"}
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / item["image"])
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / item["label"])
            datalist.setdefault(name, []).append(item if name != "unlabeled" else {"image": item["image"]})
    path = folder / "datalist.json"
    path.write_text(json.dumps(datalist))
    return path


def with_weights(bundle: Path) -> Path:
    """Give a tiny bundle random weights."""
    (bundle / "models").mkdir()
    torch.save(SemanticGAN(**TINY_NETWORK).state_dict(), bundle / "models" / "model.pt")
    return bundle
