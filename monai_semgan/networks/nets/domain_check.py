# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Whether an image is like those that a network was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets import UNet
from torch import Tensor, nn

# features that hardly vary count as if they varied by this share of those that vary most
LEAST = 1e-3
# what is looked at: of a U-Net's stages so many, up from the lowest
STAGES = 3
# of a volume so many slices, and of their distances this quantile
SLICES = 32
NEAREST = 0.35
# share of images of the kind that lies below the limit
USUAL = 0.98


def some_slices(volume: Tensor) -> Tensor:
    """Take slices ``(at most 32, C, H, W)``, evenly spaced, of a volume ``(C, H, W, slices)``."""
    number = volume.shape[-1]
    return volume[..., torch.linspace(0, number - 1, min(SLICES, number)).round().long()].movedim(-1, 0)


def nearest(distances: Tensor) -> Tensor:
    """The distance of a volume, whose slices' are given; of an image its own."""
    return distances.quantile(NEAREST)


class DomainCheck(nn.Module):
    r"""Mahalanobis distance of an image's features to those of training images (Lee et al. 2018, arXiv:1807.03888).

    Features x are the maps of a U-Net's last three stages of its way down, averaged over the image, and those of the
    lowest over the squares of a grid, so that up and down count. Each is standardised; along the first principal
    components the distance counts deviations u in standard deviations :math:`\sigma`, and all that is left r in a
    common one, :math:`d^2 = \sum_k (u_k / \sigma_k)^2 + \|r\|^2 / \rho^2`. A volume is as far as the nearest third of
    its slices, as a body is more than the part that the network is for.

    ``semgan calibrate`` fits it; it belongs to the weights and is shipped in them. Until then it is empty, and all
    images are usual.

    Args:
        channels: channels of the U-Net's stages, the last those of the lowest maps.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(channels)[-STAGES:]
        self.grid: Tensor
        self.mean: Tensor
        self.scale: Tensor
        self.basis: Tensor
        self.deviations: Tensor
        self.rest: Tensor
        self.limit: Tensor
        for name in ("mean", "scale", "deviations"):
            self.register_buffer(name, torch.zeros(0))
        # half as large in the file, of standardised features
        self.register_buffer("basis", torch.zeros(0, 0, dtype=torch.half))
        self.register_buffer("rest", torch.ones(()))
        self.register_buffer("limit", torch.zeros(()))
        self.register_buffer("grid", torch.ones((), dtype=torch.long))

    @property
    def fitted(self) -> bool:
        """Whether it knows training images."""
        return bool(self.limit > 0)

    @torch.jit.unused
    @torch.no_grad()
    def features(self, unet: UNet, images: Tensor, grid: int | None = None) -> Tensor:
        """What images are known by.

        Args:
            unet: the network.
            images: ``(B, C, H, W)`` in [-1, 1].
            grid: squares along a side of the image; by default as it was fitted.

        Returns:
            Features, ``(B, channels of the upper stages + channels of the lowest * grid * grid)``.
        """
        layer: Any = unet.model
        maps, stages = images, []
        while isinstance(layer, nn.Sequential) and len(layer) > 1 and hasattr(layer[1], "submodule"):
            layer, maps = layer[1].submodule, layer[0](maps)
            stages.append(maps.float().mean((2, 3)))
        lowest = F.adaptive_avg_pool2d(layer(maps).float(), grid or int(self.grid)).flatten(1)
        return torch.cat([*stages[1 - STAGES :], lowest], dim=1)

    @torch.jit.unused
    @torch.no_grad()
    def fit(self, features: Tensor, usual: Sequence[Tensor], *, margin: float = 1.0, components: int = 192) -> None:
        """Take mean and principal components from features of training images, and the limit from others.

        Args:
            features: of images of the training, or of slices, ``(M, features)``.
            usual: of each of other images of the same kind, ``(1, features)``, or of the slices of other volumes.
            margin: the limit, in units of what 98 of 100 of these keep to.
            components: number of principal components at most.

        Raises:
            ValueError: for fewer than 3 images, or features of a number that no grid gives.
        """
        for each in (features, *usual):
            if each.dim() != 2 or (grid := self.grid_of(each.shape[1])) is None or each.shape[1] != features.shape[1]:
                raise ValueError(f"features have shape {list(each.shape)}, expected those that `features` gives")
        if min(len(features), len(usual)) < 3:
            raise ValueError(f"{len(features)} and {len(usual)} images are too few: give 3 of both at least")
        values = features.double()
        number = values.shape[1]
        mean, scale = values.mean(0), values.std(0)
        scale = scale + LEAST * scale.max().clamp_min(1e-12)
        _, found, directions = torch.linalg.svd((values - mean) / scale, full_matrices=False)
        variances = found.square() / (len(values) - 1)
        # what the images do not vary in, at most M - 1 directions, is no component
        count = min(components, len(values) - 2, number)
        # where components are all there is, what rounding leaves does not count
        rest = variances[count:].sum() / (number - count) if count < number else torch.tensor(torch.inf)
        self.grid = torch.tensor(grid, device=features.device)
        self.mean, self.scale = mean.float(), scale.float()
        self.basis = directions[:count].half()
        self.deviations = variances[:count].sqrt().clamp_min(1e-6).float()
        self.rest = rest.clamp_min(LEAST).sqrt().float().to(features.device)
        self.limit = torch.ones_like(self.rest)
        self.limit = torch.stack([nearest(self(each)) for each in usual]).quantile(USUAL) * margin

    @torch.jit.unused
    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """Distances of images from the training images, ``(B,)``, up to 1 where they are usual."""
        values = ((features - self.mean) / self.scale).double()
        along = values @ self.basis.T.double()
        left = (values.square().sum(1) - along.square().sum(1)).clamp_min(0)
        found = ((along / self.deviations).square().sum(1) + left / self.rest**2).sqrt().float() / self.limit
        # of images whose features overflow
        return found.nan_to_num(nan=torch.inf)

    @torch.jit.unused
    @torch.no_grad()
    def distances(self, unet: UNet, images: Tensor) -> Tensor:
        """How far images ``(B, C, H, W)``, or volumes ``(B, C, H, W, slices)``, are, ``(B,)``."""
        if images.dim() == 4:
            return self(self.features(unet, images))
        return torch.stack([nearest(self(self.features(unet, some_slices(volume)))) for volume in images])

    def grid_of(self, number: int) -> int | None:
        """Squares along a side that so many features are of; None where they are others."""
        *upper, lowest = self.channels
        grid = math.isqrt(max(0, number - sum(upper)) // lowest)
        return grid if grid and sum(upper) + lowest * grid**2 == number else None

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Take sizes from what is loaded."""
        for name, own in list(self.named_buffers()):
            if (given := state_dict.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(given, device=own.device))
        super()._load_from_state_dict(state_dict, prefix, *args)
