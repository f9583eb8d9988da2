# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Images of an organ that no bundle knows: rectangles of as many brightnesses as there are classes, with labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

LISTS = {"train": 4, "unlabeled": 4, "val": 2, "test": 2}


def organ(
    folder: Path,
    *,
    shape: tuple[int, ...] = (48, 60),
    classes: int = 1,
    colour: bool = False,
    lists: dict[str, int] | None = None,
) -> Path:
    """Write images or volumes with labels of 1 to ``classes``, 255 for a single one; returns the datalist."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    datalist: dict[str, Any] = {}
    columns = int(np.ceil(np.sqrt(classes)))
    for name, number in (lists or LISTS).items():
        for index in range(number):
            label = np.zeros(shape, np.uint8)
            shift = random.integers(0, 3, 2)
            height, width = (side // (columns + 1) for side in shape[:2])
            for value in range(1, classes + 1):
                row, column = divmod(value - 1, columns)
                top, left = (
                    int((place + 0.5) * side) + int(s) for place, side, s in zip((row, column), (height, width), shift)
                )
                label[top : top + max(2, height - 3), left : left + max(2, width - 3)] = value
            image = random.normal(60, 8, shape) + 140 * label / classes
            item = write_item(folder, f"{name}_{index}", image.clip(0, 255), label, classes, colour)
            datalist.setdefault(name, []).append(item if name != "unlabeled" else {"image": item["image"]})
    path = folder / "datalist.json"
    path.write_text(json.dumps(datalist))
    return path


def write_item(
    folder: Path, name: str, image: np.ndarray, label: np.ndarray, classes: int, colour: bool
) -> dict[str, str]:
    """Write an image and its label, and return the item of a datalist."""
    if image.ndim == 3:
        item = {"image": f"{name}.nii.gz", "label": f"{name}_label.nii.gz"}
        affine = np.diag([1.5, 1.5, 3.0, 1.0])
        # as MRI, whose values say nothing
        nib.save(nib.Nifti1Image(image.astype(np.int16), affine), folder / item["image"])
        nib.save(nib.Nifti1Image(label, affine), folder / item["label"])
        return item
    item = {"image": f"{name}.png", "label": f"{name}_label.png"}
    pixels = image.astype(np.uint8)
    rgb = np.stack([pixels, pixels // 2, 255 - pixels], -1)
    Image.fromarray(rgb if colour else pixels).save(folder / item["image"])
    Image.fromarray(label * 255 if classes == 1 else label).save(folder / item["label"])
    return item
