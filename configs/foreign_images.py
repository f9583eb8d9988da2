# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Images that no bundle is for, a folder for each kind, to measure whether bundles tell them from their own.

``python configs/foreign_images.py --output kinds --volumes CT``, and
``semgan calibrate lung_xray DATALIST --image-lists test --against kinds/*``

Knees, hands and chests from the side are drawn, noise and pages of text too; slices and projections are those of CT.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

WORDS = "patient was seen in clinic with cough and fever lungs are clear no effusion heart size normal".split()


def as_bytes(values: np.ndarray) -> np.ndarray:
    """Scale values to 0..255, the lowest to 0."""
    low, high = values.min(), values.max()
    return (255 * (values - low) / max(high - low, 1e-6)).astype(np.uint8)


def exposed(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blur a drawing in [0, 1] and add noise, as a detector does."""
    noise = ndimage.gaussian_filter(random.normal(size=values.shape), 1) * random.uniform(0.01, 0.05)
    blurred = ndimage.gaussian_filter(values, random.uniform(0.5, 2.5))
    return (255 * (blurred + noise).clip(0, 1)).astype(np.uint8)


def knee(random: np.random.Generator) -> np.ndarray:
    """Draw femur, tibia, fibula and patella in soft tissue."""
    height, width = 300, int(random.integers(200, 320))
    y, x = np.mgrid[:height, :width].astype(float)
    middle, joint = width * random.uniform(0.45, 0.55), height * random.uniform(0.42, 0.58)
    limb = np.abs(x - middle) / (width * random.uniform(0.3, 0.44) * (1 + 0.12 * np.cos((y - joint) / height * 5)))
    found = random.uniform(0.02, 0.15) + 0.35 * np.sqrt((1 - limb**2).clip(0))
    shaft = width * random.uniform(0.09, 0.13)
    away = np.abs(y - joint)
    flare = shaft * (1 + 1.1 * np.exp(-((away / (height * 0.13)) ** 2)))
    found += 0.28 * ((np.abs(x - middle) < flare) & (away > height * 0.012))
    found += 0.2 * ((np.abs(x - middle - shaft * 1.15 - 4) < shaft * 0.33) & (y > joint + height * 0.1))
    found += 0.1 * (((x - middle) / (shaft * 0.8)) ** 2 + ((y - joint + height * 0.1) / (height * 0.09)) ** 2 < 1)
    return exposed(found, random)


def hand(random: np.random.Generator) -> np.ndarray:
    """Draw five fingers of bones in soft tissue."""
    height, width = 320, int(random.integers(220, 300))
    flesh, bones = (Image.new("F", (width, height)) for _ in range(2))
    soft, hard = ImageDraw.Draw(flesh), ImageDraw.Draw(bones)
    middle, palm, grey = width / 2, height * 0.68, random.uniform(0.3, 0.5)
    soft.ellipse((middle - width * 0.2, palm - height * 0.15, middle + width * 0.2, palm + height * 0.17), fill=grey)
    soft.rectangle((middle - width * 0.12, palm, middle + width * 0.12, height), fill=grey)
    for finger, angle in enumerate(np.deg2rad([-50, -20, -4, 10, 25]) + random.normal(0, 0.04)):
        x, y = middle + (finger - 2) * width * 0.085, palm - height * 0.1 * (finger > 0)
        for joint in range(3 if finger == 0 else 4):
            length = height * (0.16, 0.13, 0.085, 0.06)[joint] * random.uniform(0.9, 1.1)
            end = x + np.sin(angle) * length, y - np.cos(angle) * length
            soft.line((x, y, *end), fill=grey, width=int(width * 0.085))
            hard.line((x, y, *end), fill=random.uniform(0.3, 0.5), width=int(width * (0.045 - 0.005 * joint)))
            x, y = end[0] + np.sin(angle) * 3, end[1] - np.cos(angle) * 3
    hard.rectangle((middle - width * 0.1, palm + height * 0.17, middle - width * 0.02, height), fill=0.4)
    hard.rectangle((middle + width * 0.02, palm + height * 0.17, middle + width * 0.1, height), fill=0.4)
    return exposed(0.06 + np.asarray(flesh) + np.asarray(bones), random)


def lateral_chest(random: np.random.Generator) -> np.ndarray:
    """Draw a chest from the side: body, lung, heart, spine, sternum and ribs."""
    height, width = 300, int(random.integers(220, 300))
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    middle = random.uniform(0.48, 0.55)
    found = random.uniform(0.02, 0.1) + 0.45 * (((x - middle) / (0.4 + 0.06 * np.sin(y * 3))) ** 2 < 1)
    diaphragm = y < 0.68 + 0.32 * (x - middle) + 0.06 * np.cos((x - middle) * 9)
    lung = (((x - middle + 0.01) / 0.28) ** 2 + ((y - 0.45) / 0.36) ** 2 < 1) & diaphragm
    found -= lung * random.uniform(0.22, 0.32)
    found += 0.2 * np.exp(-(((x - middle + 0.12) / 0.13) ** 2 + ((y - 0.56) / 0.13) ** 2))
    spine = middle + 0.27 + 0.05 * np.sin(y * 4)
    found += (np.abs(x - spine) < 0.055) * (0.14 + 0.1 * (np.sin(y * height / 7.5) > -0.5))
    found += 0.2 * ((np.abs(x - middle + 0.3 - 0.05 * np.sin(y * 3)) < 0.012) & (y < 0.7))
    for rib in range(9):
        line = np.abs(y - 0.16 - 0.065 * rib - 0.24 * (spine - x)) < 0.008
        found += 0.08 * (line & (x < spine) & (x > middle - 0.26))
    picture = exposed(found, random)
    return picture if random.random() < 0.5 else picture[:, ::-1]


def noise(random: np.random.Generator) -> np.ndarray:
    """Draw noise, white or smooth."""
    side = int(random.integers(128, 500))
    values = random.normal(size=(side, side))
    return as_bytes(values if random.random() < 0.5 else ndimage.gaussian_filter(values, random.uniform(1, side / 8)))


def text(random: np.random.Generator) -> np.ndarray:
    """Draw a page of text."""
    width, height, size = (int(random.integers(*limits)) for limits in ((400, 1000), (500, 1200), (12, 34)))
    page = Image.new("L", (width, height), int(random.integers(225, 256)))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size)
    for y in range(size * 2, height - size * 2, int(size * 1.4)):
        draw.text((size * 2, y), " ".join(random.choice(WORDS, width // (size * 4) + 1)), fill=30, font=font)
    return np.asarray(page)


DRAWN: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "knee": knee,
    "hand": hand,
    "lateral_chest": lateral_chest,
    "noise": noise,
    "text": text,
}


def views(path: Path) -> dict[str, np.ndarray]:
    """Take an axial slice of CT and its projections, from the side and from the front."""
    volume: nib.Nifti1Image = nib.as_closest_canonical(nib.load(path))
    values = np.asarray(volume.dataobj, dtype=np.float32)
    spacing = volume.header.get_zooms()
    found = {"ct_slice": np.rot90(values[..., values.shape[2] // 2])}
    for name, axis in (("lateral_projection", 0), ("frontal_projection", 1)):
        shadow = np.rot90((values - values.min()).sum(axis))
        found[name] = ndimage.zoom(shadow, (max(1.0, spacing[2] / spacing[1 - axis]), 1), order=1)
    return {name: as_bytes(image) for name, image in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the folders.

    Args:
        arguments: the command line; ``sys.argv`` by default.

    Returns:
        The exit code, 0.
    """
    parser = argparse.ArgumentParser(prog="python configs/foreign_images.py", description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for a folder of each kind")
    parser.add_argument("--number", type=int, default=60, help="images of each kind that is drawn")
    parser.add_argument("--volumes", type=Path, help="folder of CT volumes, .nii.gz")
    options = parser.parse_args(arguments)
    for kind, draw in DRAWN.items():
        for index in range(options.number):
            save(options.output / kind / f"{index}.png", draw(np.random.default_rng(index)))
    for path in sorted(options.volumes.rglob("*.nii.gz")) if options.volumes else []:
        for kind, image in views(path).items():
            save(options.output / kind / path.name.replace(".nii.gz", ".png"), image)
    return 0


def save(path: Path, image: np.ndarray) -> None:
    """Write a grey picture, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


if __name__ == "__main__":
    sys.exit(main())
