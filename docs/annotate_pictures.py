# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Pictures of docs/annotate.md, from the answers of a running server to a simulated annotator.

In one terminal ``make label STUDIES=studies MODELS=bundles/lung_xray_segmentation``, in another:
``.venv-label/bin/python docs/annotate_pictures.py --labels masks --shown NAME``. STUDIES is a folder of X-rays without
labels, LABELS one of their true masks, PNG files of the same names; NAME is the study that the pictures show.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from monailabel.client import MONAILabelClient
from PIL import Image
from skimage.segmentation import find_boundaries

ORANGE, BLUE, RED, GREEN = (255, 140, 0), (80, 160, 255), (230, 60, 60), (60, 200, 90)
HEIGHT = 320


def outlined(image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Draw the outline of a mask."""
    shown = image.copy()
    shown[find_boundaries(mask > 0)] = colour
    return shown


def corrected(image: np.ndarray, mask: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Tint what the annotator adds to a mask (green) and takes from it (red), and outline what is saved."""
    shown = image.astype(float)
    for where, colour in (((label > 0) & (mask == 0), GREEN), ((label == 0) & (mask > 0), RED)):
        shown[where] = 0.45 * shown[where] + 0.55 * np.array(colour)
    return outlined(shown.astype(np.uint8), label, BLUE)


def main() -> None:
    """Segment, correct, fine-tune, segment again."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default="lung_xray_segmentation")
    parser.add_argument("--labels", type=Path, required=True, help="folder of the true masks")
    parser.add_argument("--shown", required=True, help="the study that the pictures show")
    parser.add_argument("--steps_per_epoch", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images")
    options = parser.parse_args()
    client = MONAILabelClient(options.url, tempfile.mkdtemp())
    studies = client.datastore()["objects"]

    def segment() -> np.ndarray:
        return np.asarray(Image.open(client.infer(options.model, options.shown, {})[0]))

    before = segment()
    for name in studies:
        client.save_label(name, str(options.labels / f"{name}.png"), "final")
    client.train_start(options.model, {"steps_per_epoch": options.steps_per_epoch})
    while (task := client.train_status())["status"] in ("SUBMITTED", "RUNNING"):
        time.sleep(2)
    if task["status"] != "DONE":
        raise SystemExit("\n".join(task["details"]))
    after = segment()

    response = MONAILabelClient(options.url).get_server_url() + f"/datastore/image?image={options.shown}"
    import requests

    file = Path(tempfile.mkdtemp(), "image")
    file.write_bytes(requests.get(response, timeout=60).content)
    image = np.asarray(Image.open(file).convert("RGB"))
    label = np.asarray(Image.open(options.labels / f"{options.shown}.png").convert("L"))
    options.output.mkdir(parents=True, exist_ok=True)
    pictures = {
        "before": outlined(image, before, ORANGE),
        "correction": corrected(image, before, label),
        "after": outlined(image, after, ORANGE),
    }
    for name, shown in pictures.items():
        picture = Image.fromarray(shown)
        picture = picture.resize((picture.width * HEIGHT // picture.height, HEIGHT), Image.Resampling.LANCZOS)
        picture.save(options.output / f"annotate_{name}.png", optimize=True)
    for name, mask in (("before", before), ("after", after)):
        both = 2 * ((mask > 0) & (label > 0)).sum() / ((mask > 0).sum() + (label > 0).sum())
        print(f"Dice {name}: {both:.3f}")


if __name__ == "__main__":
    main()
