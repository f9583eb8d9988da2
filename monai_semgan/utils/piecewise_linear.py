# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Curves that are linear between evenly spaced knots."""

from __future__ import annotations

from torch import Tensor


def piecewise_linear(values: Tensor, image: Tensor) -> Tensor:
    """Put each image through a curve of its own, linear between K evenly spaced knots from -1 to 1, straight beyond.

    Args:
        values: the curves at their knots, ``(B, K)``.
        image: ``(B, C, H, W)``.

    Returns:
        Images in fp32, ``(B, C, H, W)``; gradients reach the images and the values.
    """
    number = values.shape[1] - 1
    place = (image.float().flatten(1) + 1) * (number / 2)
    index = place.detach().floor().clamp(0, number - 1).long()
    left, right = values.gather(1, index), values.gather(1, index + 1)
    return (left + (place - index) * (right - left)).view_as(image)
