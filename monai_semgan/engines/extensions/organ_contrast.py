# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Organs in other contrast to what is around them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from monai_semgan.engines.extension import EncoderExtension, Part, SemiSupervisedBatch


class OrganContrast(EncoderExtension):
    r"""Show organs brighter or darker than they are, as disease and other scanners do: livers that iron makes dark.

    Within each foreground class of the label map, intensities x of mean m become :math:`m + a + g (x - m)`, with a and
    g drawn for each image and class; the border is softened by a pixel (label-driven synthesis, Billot et al. 2023).

    Args:
        p: share of images that are changed.
        offset: lowest and highest a, on the scale from -1 to 1.
        gain: lowest and highest g.

    Raises:
        ValueError: for a share outside [0, 1], or a range whose ends are in the wrong order.
    """

    def __init__(
        self, p: float = 0.5, offset: tuple[float, float] = (-0.8, 0.5), gain: tuple[float, float] = (0.3, 1.5)
    ) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p is {p}, it must lie in [0, 1]")
        for name, (low, high) in {"offset": offset, "gain": gain}.items():
            if not low <= high:
                raise ValueError(f"{name} is {(low, high)}: give the lowest value first")
        self.p, self.offset, self.gain = p, offset, gain

    def prepare(self, batch: SemiSupervisedBatch) -> None:
        """Change all images whose label map is known."""
        for part in batch.parts.values():
            if part.label_map is not None and len(part.image):
                self.change(part)

    def change(self, part: Part) -> None:
        """Change the images of a part."""
        assert part.label_map is not None
        chosen = drawn(part.image, 0, 1) < self.p
        # of several classes the first is background
        for organ in part.label_map.split(1, 1)[min(1, part.label_map.shape[1] - 1) :]:
            share = ((organ + 1) / 2).clamp(0, 1)
            mean = (part.image * share).sum((2, 3), True) / share.sum((2, 3), True).clamp(min=1)
            offset, gain = drawn(part.image, *self.offset), drawn(part.image, *self.gain)
            changed = (mean + offset + gain * (part.image - mean)).clamp(-1, 1)
            soft = F.avg_pool2d(share, 3, 1, 1)
            part.image = part.image + chosen * soft * (changed - part.image)


def drawn(image: Tensor, low: float, high: float) -> Tensor:
    """A random number for each image, ``(B, 1, 1, 1)``."""
    return low + (high - low) * torch.rand(len(image), 1, 1, 1, device=image.device)
