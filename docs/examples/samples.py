# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Draw images and their label maps: the shipped weights are a model of both, p(x, y).

``python samples.py`` writes samples.png: radiographs that the model draws, above the label map that it draws with each.
"""

from __future__ import annotations

import torch
from torchvision.utils import save_image

from monai_semgan import Predictor

network = Predictor.from_bundle("lung_xray", device="cpu").network

# truncation 1 for the full variety, towards 0 for images nearer the mean one
image, logits = network.sample(8, truncation=0.8, generator=torch.Generator().manual_seed(0))
label = torch.sigmoid(logits) * 2 - 1
save_image(torch.cat([image, label]), "samples.png", nrow=8, normalize=True, value_range=(-1, 1))
print(f"samples.png: {len(image)} images of {image.shape[2]} x {image.shape[3]} pixels above their label maps")
