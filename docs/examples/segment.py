# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Segment a radiograph with the shipped weights.

``python segment.py [FILE]`` writes mask.png and overlay.png; without a file it takes a radiograph that the model draws.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from PIL import Image

from monai_semgan import Predictor
from monai_semgan.reports.overlay import overlay

# "fast", "balanced" or "best"; the first call of a process loads the weights, keep the predictor for many images
predictor = Predictor.from_bundle("lung_xray", preset="fast", answer="both")

if len(sys.argv) > 1:
    file = sys.argv[1]
else:
    file = "drawn.png"
    seeded = torch.Generator(predictor.device).manual_seed(3)
    image, _ = predictor.network.sample(1, truncation=0.8, generator=seeded)
    Image.fromarray(((image[0, 0] + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy()).save(file)

# a path; also an array, a tensor, a PIL, SimpleITK or nibabel image, or a list of these
prediction = predictor(file)
share = float((prediction.mask > 0).float().mean())
print(f"{', '.join(prediction.classes)}: {share:.1%} of the image, in {prediction.seconds:.1f} s")
# what a mask without a label is expected to score; and a large error says that the generator cannot redraw the image
print(f"predicted Dice {prediction.quality.dice:.2f}, reconstruction error {prediction.reconstruction_error:.3f}")

prediction.save("mask")
upright = np.asarray(Image.open(file).convert("L"), dtype=np.float32)[None]
mask = np.asarray(Image.open("mask.png")) > 0
tiles = overlay(upright, [(mask, (255, 128, 0))], prediction.reconstruction.numpy())
Image.fromarray(tiles).save("overlay.png")
