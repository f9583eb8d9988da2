# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Curves between the intensities that a generator draws and those of images from another scanner."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from monai_semgan.utils import piecewise_linear

# air and padding, which no scanner shows in another way
BLACK = -0.99


class IntensityCurve:
    r"""Map the intensities of drawn images to those of given ones, each image by a curve of its own.

    A curve is linear between K evenly spaced knots from -1 to 1 and goes on straight beyond them. It rises or, for
    images that show bright what the generator draws dark, falls throughout, so it can be inverted. Where the given
    image is black, outside of the body, intensities stay as they are.

    Args:
        values: the curves at the knots, in rising or in falling order, ``(B, K)``.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @classmethod
    def from_parameters(cls, parameters: Tensor, direction: int) -> IntensityCurve:
        r"""Make curves of unbounded numbers: :math:`v_k = s (-1 + p_0 + \sum_{j \le k} h\,\zeta(p_j) / \ln 2)`.

        :math:`\zeta` is softplus and h the distance of knots; 0 makes the line :math:`v = s u`.

        Args:
            parameters: offset and steps, ``(B, K)``.
            direction: s, 1 for curves that rise and -1 for those that fall.
        """
        steps = F.softplus(parameters[:, 1:]) * (2 / (parameters.shape[1] - 1) / math.log(2))
        first = parameters[:, :1] - 1
        return cls(direction * torch.cat([first, first + steps.cumsum(1)], dim=1))

    @property
    def knots(self) -> Tensor:
        """Where the values are, ``(K,)``."""
        return torch.linspace(-1, 1, self.values.shape[1], device=self.values.device)

    @property
    def directions(self) -> Tensor:
        """1 for curves that rise and -1 for those that fall, ``(B,)``."""
        return (self.values[:, -1] - self.values[:, 0]).sign()

    def __call__(self, drawn: Tensor, image: Tensor) -> Tensor:
        """Bring drawn images to the intensities of the given ones.

        Args:
            drawn: images as the generator draws them, ``(B, C, H, W)``.
            image: the given images, which tell what is black, ``(B, C, H, W)``.

        Returns:
            Images in fp32, ``(B, C, H, W)``; gradients reach the drawn images and the values.
        """
        return torch.where(image < BLACK, drawn.float(), piecewise_linear(self.values, drawn))

    def inverse(self, image: Tensor) -> Tensor:
        """Bring given images ``(B, C, H, W)`` to the intensities that the generator draws, in [-1, 1]."""
        sign = self.directions[:, None]
        rising, wanted = self.values * sign, image.float().flatten(1) * sign
        index = torch.searchsorted(rising.contiguous(), wanted.contiguous()).sub(1).clamp(0, rising.shape[1] - 2)
        left, right = rising.gather(1, index), rising.gather(1, index + 1)
        place = index + (wanted - left) / (right - left).clamp_min(1e-6)
        drawn = (place * (2 / (rising.shape[1] - 1)) - 1).clamp(-1, 1)
        return torch.where(image < BLACK, image.float(), drawn.view_as(image))

    def distance(self) -> Tensor:
        """Mean squared distance from the line of the curve's direction, ``(B,)``."""
        return (self.values - self.directions[:, None] * self.knots).square().mean(1)

    def common(self) -> IntensityCurve:
        """The one curve of images that have one in common: the median of those that run the way most do."""
        directions = self.directions
        most = 1 if directions.sum() >= 0 else -1
        return IntensityCurve(self.values[directions == most].median(0, keepdim=True).values)

    def expand(self, number: int) -> IntensityCurve:
        """The same curve for so many images."""
        return IntensityCurve(self.values.expand(number, -1))
