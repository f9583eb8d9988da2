# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Find the W+ code that regenerates an image (equations (7) and (8) of the paper), and change the image by its code.

``python invert.py`` writes inversion.png: the image, as the encoder's code redraws it, as the refined code does, and
half way from there to the mean image.
"""

from __future__ import annotations

import torch
from torchvision.utils import save_image

from monai_semgan import Predictor
from monai_semgan.inferers import WPlusInferer

network = Predictor.from_bundle("lung_xray", device="cpu").network
image, label = network.sample(2, truncation=0.9, generator=torch.Generator().manual_seed(5))

# no step of refinement: the encoder's answer alone
encoded = WPlusInferer(steps=0, answer="gan")(image, network, return_details=True)
refined = WPlusInferer(steps=8, answer="gan")(image, network, return_details=True)
for name, result in (("encoder", encoded), ("refined", refined)):
    error = (result.reconstruction - image).square().mean().sqrt()
    agreement = ((result.logits > 0) == (label > 0)).float().mean()
    print(f"{name}: reconstruction error {error:.3f}, {agreement:.1%} of the pixels have their label")

# codes (B, N, D) form a space in which images can be mixed, label maps included
with torch.no_grad():
    halfway, _ = network.decode(refined.wplus.lerp(network.generator.mean_w.expand_as(refined.wplus), 0.5))
rows = torch.cat([image, encoded.reconstruction, refined.reconstruction, halfway])
save_image(rows, "inversion.png", nrow=len(image), normalize=True, value_range=(-1, 1))
