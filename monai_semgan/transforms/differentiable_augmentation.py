# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Differentiable augmentation of whatever a discriminator sees (arXiv:2006.10738, arXiv:2006.06676)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# the changes that have a size, those of the geometry first
GEOMETRY = ("scale", "stretch", "shift", "rotate")
SIZES = (*GEOMETRY, "curve", "colour", "brightness", "contrast", "shading", "blur", "noise")


class DifferentiableAugmentation(nn.Module):
    """Random affine map and changes of colour, exposure and sharpness per image; the label map moves with its image.

    Each change is applied to an image with probability ``p``. Gradients flow to image and label. What comes
    from outside the frame is black in images and background in label maps with values in [-1, 1]: -1, and 1 in the
    first of several label channels.

    - ``scale``: zoom is drawn log-uniformly from [1 / (1 + scale), 1 + scale].
    - ``stretch``: width over height changes log-uniformly by a factor from [1 / (1 + stretch), 1 + stretch].
    - ``shift``: shift along each axis is drawn uniformly up to this fraction of the side.
    - ``rotate``: rotation is drawn uniformly up to this angle, in degrees.
    - ``curve``: intensities go through a random curve, linear between 6 evenly spaced knots. Its values at the knots
      lie between the identity (0) and uniform numbers from [-1, 1] (1), by a share drawn uniformly up to this value; it
      may fall as well as rise, so tissues change their order. Black stays black, and all channels share it (after the
      global intensity non-linear augmentation of Ouyang et al., IEEE TMI 2023, arXiv:2111.12525).
    - ``colour``: gain of each channel, above black, is drawn log-uniformly from [1 / (1 + colour), 1 + colour].
    - ``brightness``: offset is drawn uniformly up to this value; the image spans 2.
    - ``contrast``: contrast is drawn log-uniformly from [1 / (1 + contrast), 1 + contrast].
    - ``shading``: standard deviation of a smooth additive field, 4x4 normal values interpolated.
    - ``blur``: standard deviation of a Gaussian blur is drawn uniformly up to this value, in pixels.
    - ``noise``: standard deviation of white noise is drawn uniformly up to this value.

    Args:
        p: probability of each change; the adaptive rule of a trainer may move it.
        flip: whether left and right change places, in half of the images that are changed; or pairs of classes that are
            each other's mirror image, such as ``[[1, 2]]`` for the right and the left lung: label maps of such an image
            then have their channels exchanged.
        sizes: how large each change is at most, by the names above; 0, none, by default.

    Raises:
        ValueError: for a probability outside [0, 1], a negative range, or a change of another name.
    """

    def __init__(self, *, p: float = 1.0, flip: bool | Sequence[Sequence[int]] = False, **sizes: float) -> None:
        super().__init__()
        if unknown := sorted(sizes.keys() - set(SIZES)):
            raise ValueError(f"{', '.join(unknown)}: no such change, there is {', '.join(SIZES)}")
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p is {p}, it must lie in [0, 1]")
        if sizes.get("curve", 0.0) > 1:
            raise ValueError(f"curve is {sizes['curve']}, it must lie in [0, 1]")
        if negative := [f"{name} is {value}" for name, value in sizes.items() if value < 0]:
            raise ValueError(f"{', '.join(negative)}: ranges must not be negative")
        self.p: Tensor
        self.register_buffer("p", torch.tensor(float(p)))
        self.flip = bool(flip)
        self.pairs = [] if isinstance(flip, bool) else [(int(one), int(other)) for one, other in flip]
        self.size = {name: sizes.get(name, 0.0) for name in SIZES}

    @property
    def moves(self) -> bool:
        """Whether the geometry changes, and not the intensities alone."""
        return self.flip or any(self.size[name] > 0 for name in GEOMETRY)

    def forward(self, image: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Augment a batch.

        Args:
            image: images in [-1, 1], ``(B, C, H, W)``.
            label: label maps in [-1, 1], ``(B, L, H, W)``.

        Returns:
            Augmented images and label maps, in the type of ``image``.

        Raises:
            ValueError: when classes are to be exchanged that the label map does not have.
        """
        if self.p == 0 or len(image) == 0:
            return image, label
        if self.moves:
            joined = image if label is None else torch.cat([image, label.to(image.dtype)], dim=1)
            outside = torch.full_like(joined[:1, :, :1, :1], -1.0)
            if label is not None and label.shape[1] > 1:
                outside[:, image.shape[1]] = 1.0
            joined, mirrored = self.warp(joined, outside)
            if label is not None and self.pairs:
                joined = self.exchange(joined, mirrored, image.shape[1])
            image, label = joined[:, : image.shape[1]], None if label is None else joined[:, image.shape[1] :]
        if self.size["curve"]:
            image = self.remap(image)
        if self.size["colour"]:
            image = self.cast(image)
        if self.size["brightness"] or self.size["contrast"]:
            image = self.expose(image)
        if self.size["shading"]:
            image = self.shade(image)
        if self.size["blur"]:
            image = self.defocus(image)
        if self.size["noise"]:
            level = self.uniform(len(image), self.size["noise"])[:, None, None, None]
            image = image + torch.randn_like(image) * level.to(image.dtype)
        return image, label

    def uniform(self, batch: int, limit: float) -> Tensor:
        """Draw from U(-limit, limit), or 0 with probability 1 - p, ``(batch,)``."""
        drawn = (torch.rand(batch, device=self.p.device) * 2 - 1) * limit
        return torch.where(torch.rand(batch, device=self.p.device) < self.p, drawn, torch.zeros_like(drawn))

    def exchange(self, joined: Tensor, mirrored: Tensor, first: int) -> Tensor:
        """Exchange channels of the classes of a pair, which begin at the ``first``, where an image was mirrored."""
        classes = joined.shape[1] - first
        order = torch.arange(joined.shape[1], device=joined.device)
        for one, other in self.pairs:
            if not 0 < min(one, other) <= max(one, other) < classes:
                raise ValueError(f"flip exchanges classes {one} and {other}, the label map has 1 to {classes - 1}")
            order[[first + one, first + other]] = order[[first + other, first + one]]
        return torch.where(mirrored[:, None, None, None], joined[:, order], joined)

    def warp(self, x: Tensor, outside: Tensor) -> tuple[Tensor, Tensor]:
        """Apply one random affine map per image, bilinear, and tell which were mirrored; ``outside`` lies beyond."""
        batch = x.shape[0]
        zoom = torch.exp(self.uniform(batch, math.log1p(self.size["scale"])))
        angle = self.uniform(batch, math.radians(self.size["rotate"]))
        cosine, sine = torch.cos(angle), torch.sin(angle)
        half_stretch = torch.exp(self.uniform(batch, math.log1p(self.size["stretch"]) / 2))
        width, height = zoom * half_stretch, zoom / half_stretch
        mirrored = torch.zeros(batch, dtype=torch.bool, device=self.p.device)
        if self.flip:
            mirrored = torch.rand(batch, device=self.p.device) < self.p / 2
            width = torch.where(mirrored, -width, width)
        # normalised coordinates span 2, so a fraction f of the side is 2 f
        shift_x, shift_y = self.uniform(batch, 2 * self.size["shift"]), self.uniform(batch, 2 * self.size["shift"])
        rows = [cosine / width, -sine / width, shift_x, sine / height, cosine / height, shift_y]
        theta = torch.stack(rows, dim=1).view(batch, 2, 3)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        return F.grid_sample(x.float() - outside, grid, align_corners=False).to(x.dtype) + outside, mirrored

    def remap(self, image: Tensor) -> Tensor:
        """Put the intensities of each image through a curve of its own; beyond [-1, 1] it goes on straight."""
        batch, knots = len(image), 6
        identity = torch.linspace(-1, 1, knots, device=self.p.device)
        share = self.uniform(batch, self.size["curve"]).abs()[:, None]
        values = identity + share * (torch.rand(batch, knots, device=self.p.device) * 2 - 1 - identity)
        values[:, 0] = -1.0
        return piecewise_linear(values, image).to(image.dtype)

    def cast(self, image: Tensor) -> Tensor:
        """Multiply each channel, measured from black, by a gain of its own."""
        batch, channels = image.shape[:2]
        logs = torch.stack([self.uniform(batch, math.log1p(self.size["colour"])) for _ in range(channels)], dim=1)
        return (image + 1.0) * logs.exp()[:, :, None, None].to(image.dtype) - 1.0

    def expose(self, image: Tensor) -> Tensor:
        """Change contrast about the image's mean, then brightness."""
        batch = image.shape[0]
        factor = torch.exp(self.uniform(batch, math.log1p(self.size["contrast"])))[:, None, None, None].to(image.dtype)
        offset = self.uniform(batch, self.size["brightness"])[:, None, None, None].to(image.dtype)
        mean = image.mean((1, 2, 3), keepdim=True)
        return (image - mean) * factor + mean + offset

    def shade(self, image: Tensor) -> Tensor:
        """Add a smooth field, the same in all channels."""
        amplitude = torch.where(torch.rand(len(image), device=self.p.device) < self.p, self.size["shading"], 0.0)
        field = torch.randn(len(image), 1, 4, 4, device=self.p.device) * amplitude[:, None, None, None]
        return image + F.interpolate(field, image.shape[2:], mode="bicubic").to(image.dtype)

    def defocus(self, image: Tensor) -> Tensor:
        """Blur each image by a Gaussian of its own, the border repeated."""
        batch, channels = image.shape[:2]
        radius = max(1, math.ceil(2.5 * self.size["blur"]))
        sigma = self.uniform(batch, self.size["blur"]).abs().clamp(min=1e-3)
        taps = torch.arange(-radius, radius + 1, device=self.p.device)
        kernel = torch.exp(-0.5 * (taps / sigma[:, None]) ** 2)
        kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, dim=0).to(image.dtype)
        padded = F.pad(image, (radius, radius, radius, radius), mode="replicate").flatten(0, 1)[None]
        groups = batch * channels
        across = F.conv2d(padded, kernel[:, None, None, :], groups=groups)
        return F.conv2d(across, kernel[:, None, :, None], groups=groups).view_as(image)


def piecewise_linear(values: Tensor, image: Tensor) -> Tensor:
    """Put each image through a curve of its own, linear between K evenly spaced knots from -1 to 1, straight beyond.

    The curves are given by their values at the knots, ``(B, K)``; images of the result are fp32.
    """
    number = values.shape[1] - 1
    place = (image.float().flatten(1) + 1) * (number / 2)
    index = place.detach().floor().clamp(0, number - 1).long()
    left, right = values.gather(1, index), values.gather(1, index + 1)
    return (left + (place - index) * (right - left)).view_as(image)
