# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Whether an image is like those that a network was trained on."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets import UNet
from torch import Tensor, nn

# features that hardly vary count as if they varied by this share of those that vary most
LEAST = 1e-3


class DomainCheck(nn.Module):
    r"""Mahalanobis distance of an image's features to those of training images (Lee et al. 2018, arXiv:1807.03888).

    Features x are the lowest maps of a U-Net, averaged over the squares of a grid, so that up and down count. Each is
    standardised; along the first principal components the distance counts deviations u in standard deviations
    :math:`\sigma`, and all that is left r in a common one, :math:`d^2 = \sum_k (u_k / \sigma_k)^2 + \|r\|^2 / \rho^2`.
    ``semgan calibrate`` fits it; it belongs to the weights and is shipped in them. Until then, all images are usual.

    Args:
        channels: channels of the lowest maps.
        grid: squares along a side.
        components: number of principal components.
    """

    def __init__(self, channels: int, grid: int = 2, components: int = 64) -> None:
        super().__init__()
        self.grid = grid
        number = channels * grid * grid
        self.mean: Tensor
        self.scale: Tensor
        self.basis: Tensor
        self.deviations: Tensor
        self.rest: Tensor
        self.limit: Tensor
        self.register_buffer("mean", torch.zeros(number))
        self.register_buffer("scale", torch.ones(number))
        self.register_buffer("basis", torch.zeros(components, number))
        self.register_buffer("deviations", torch.ones(components))
        self.register_buffer("rest", torch.ones(()))
        self.register_buffer("limit", torch.zeros(()))

    @property
    def fitted(self) -> bool:
        """Whether it knows training images."""
        return bool(self.limit > 0)

    @torch.jit.unused
    @torch.no_grad()
    def features(self, unet: UNet, images: Tensor) -> Tensor:
        """What images ``(B, C, H, W)`` are known by, ``(B, channels * grid * grid)``."""
        layer: Any = unet.model
        maps = images
        while isinstance(layer, nn.Sequential) and len(layer) > 1 and hasattr(layer[1], "submodule"):
            layer, maps = layer[1].submodule, layer[0](maps)
        return F.adaptive_avg_pool2d(layer(maps).float(), self.grid).flatten(1)

    @torch.jit.unused
    @torch.no_grad()
    def fit(self, features: Tensor, usual: Tensor, share: float = 0.98) -> None:
        """Take mean and principal components from features of training images, and the limit from others.

        Args:
            features: of images and of copies of them that are harder to read, ``(M, features)``.
            usual: of other images of the same kind, as they are, ``(N, features)``.
            share: of these, what lies below the limit.

        Raises:
            ValueError: for fewer than 3 images, or features of another number.
        """
        for values in (features, usual):
            if values.dim() != 2 or values.shape[1:] != self.mean.shape or len(values) < 3:
                raise ValueError(f"features have shape {list(values.shape)}, expected (3 or more, {len(self.mean)})")
        values = features.double()
        mean, scale = values.mean(0), values.std(0)
        scale = scale + LEAST * scale.max().clamp_min(1e-12)
        _, found, components = torch.linalg.svd((values - mean) / scale, full_matrices=False)
        variances = found.square() / (len(values) - 1)
        # what the images do not vary in, at most M - 1 directions, is no component
        count = min(len(self.basis), len(values) - 2, len(self.mean))
        rest = variances[count:].sum() / max(1, len(self.mean) - count)
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        self.basis.zero_()
        self.basis[:count] = components[:count]
        self.deviations.fill_(1.0)
        self.deviations[:count] = variances[:count].sqrt().clamp_min(1e-6)
        self.rest.copy_(rest.clamp_min(LEAST).sqrt())
        self.limit.fill_(1.0)
        self.limit.fill_(self(usual).quantile(share))

    @torch.jit.unused
    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """Distances of images from the training images, ``(B,)``, up to 1 where they are usual."""
        values = ((features - self.mean) / self.scale).double()
        along = values @ self.basis.T.double()
        left = (values.square().sum(1) - along.square().sum(1)).clamp_min(0)
        return ((along / self.deviations).square().sum(1) + left / self.rest**2).sqrt().float() / self.limit
