# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What of a volume's mask is one solid organ, by its shape and its intensities."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

# robust standard deviation of a normal distribution, in median absolute deviations
DEVIATION = 1.4826
# the least that intensities of an organ spread, on the scale from -1 to 1
LEAST = 0.06


class SolidOrgan:
    r"""Keep of a mask the largest thick piece of one intensity, for organs such as the liver.

    What a network takes for the organ in an unknown modality are often strips of muscle and loops of bowel beside it.
    By morphological opening (Serra 1982) in each slice and along the axis the mask comes apart into what is thick, of
    which the largest piece is the core. From the core goes what is further than ``spread`` robust standard deviations
    from its median intensity, measured in slices with a large part of it. The answer is what the mask holds within
    ``radius`` - 1 pixels of the core.

    Args:
        radius: radius of the opening's disc, in pixels.
        slices: slices that a thick piece has at least, where the volume has as many.
        spread: standard deviations within which intensities are the organ's, 0 for all.

    Raises:
        ValueError: for settings out of range.
    """

    def __init__(self, radius: int = 4, slices: int = 3, spread: float = 3.0) -> None:
        if radius < 2 or slices < 1 or not spread >= 0:
            raise ValueError(
                f"radius is {radius}, slices {slices} and spread {spread}: they must be at least 2, 1 and 0"
            )
        self.radius = radius
        self.slices = slices
        self.spread = spread

    def __call__(self, mask: Tensor, image: Tensor) -> Tensor:
        """
        Args:
            mask: what was found, boolean ``(H, W, D)``.
            image: intensities in [-1, 1], of the same shape.

        Returns:
            What is kept of the mask; empty where nothing is thick enough.
        """
        found = mask.cpu().numpy().astype(bool)
        slices = min(self.slices, found.shape[-1])
        # slices beyond the ends are like the last ones
        padded = np.pad(opened(found, self.radius), ((0, 0), (0, 0), (slices, slices)), mode="edge")
        core = largest(ndimage.binary_opening(padded, np.ones((1, 1, slices)))[..., slices:-slices])
        if self.spread and core.any():
            intensity = ndimage.gaussian_filter(image.cpu().float().numpy(), (1.5, 1.5, 0.5))
            areas = core.sum((0, 1))
            large = core & (areas >= areas.max() / 2)
            # at the border the surroundings are mixed in
            values = intensity[inner if (inner := ndimage.binary_erosion(large, disc(2))).any() else large]
            median = np.median(values)
            deviation = max(LEAST, DEVIATION * float(np.median(np.abs(values - median))))
            alike = core & (np.abs(intensity - median) < self.spread * deviation)
            core = largest(opened(alike, self.radius - 1))
        kept = found & ndimage.binary_dilation(core, disc(self.radius - 1))
        return torch.from_numpy(kept).to(mask.device)


def disc(radius: int) -> np.ndarray:
    """A disc in the slice, ``(2 radius + 1, 2 radius + 1, 1)``."""
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (rows**2 + columns**2 <= radius**2)[..., None]


def opened(mask: np.ndarray, radius: int) -> np.ndarray:
    """What of a mask is as thick as a disc, in each slice."""
    return ndimage.binary_opening(mask, disc(radius))


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest piece, connected by 26 neighbours."""
    pieces, number = ndimage.label(mask, np.ones((3, 3, 3)))
    return pieces == 1 + np.bincount(pieces.ravel())[1:].argmax() if number else mask
