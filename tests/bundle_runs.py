# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Runs of a bundle's configs in its folder, and what they write."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image

from monai_semgan.networks.nets import SemanticGAN

TINY = {"size": 32, "latent_dim": 16, "channel_base": 128, "channel_max": 8}
INFERENCE = ["configs/inference.yaml"]
EVALUATE = [*INFERENCE, "configs/evaluate.yaml"]


def tiny(path: Path, image_channels: int = 1) -> dict[str, Any]:
    """Write the weights of an untrained network of 32 pixels, and return the settings of a run with it."""
    torch.save(SemanticGAN(**TINY, image_channels=image_channels).state_dict(), path)
    settings = {f"network_def::{key}": value for key, value in TINY.items()}
    return {**settings, "ckpt_path": str(path), "displayable_configs::refine_steps": 1, "device": "cpu"}


def workflow(files: list[str], **override: Any) -> ConfigWorkflow:
    flow = ConfigWorkflow(config_file=files, workflow_type="infer", **override)
    flow.initialize()
    return flow


def run_command(files: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run configs as a user does, in a process of its own."""
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files), *words]
    return subprocess.run(command, capture_output=True, text=True)


def rows(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a report by file."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def read_mask(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)) if path.suffix == ".png" else np.asarray(nib.load(path).dataobj)


def overlap(mask: np.ndarray, expected: np.ndarray) -> float:
    """The Dice coefficient of two masks of one shape."""
    assert mask.shape == expected.shape
    a, b = mask > 0, expected > 0
    return 2 * (a & b).sum() / (a.sum() + b.sum())
