# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Colour constancy (Finlayson and Trezzi, Shades of Gray and Colour Constancy, CIC 2004)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_tensor


class ShadesOfGrey(Transform):
    r"""Take the colour of the light out of an RGB image.

    The light is estimated in each channel c by the Minkowski norm of its n pixels, and its mean over the channels,
    hence the image's brightness, is kept:

    .. math:: e_c = \Bigl(\frac{1}{n} \sum_i x_{ci}^p\Bigr)^{1/p}, \qquad y_c = \frac{\bar e}{e_c} x_c

    p = 1 is the grey world and p = infinity is max-RGB. A channel of zeros stays so and does not count in the mean.
    Only intensities change: there is nothing to invert.

    Args:
        norm: the exponent p; the authors found 6 to be best.

    Raises:
        ValueError: when ``norm`` is below 1.
    """

    def __init__(self, norm: float = 6.0) -> None:
        if not norm >= 1:
            raise ValueError(f"norm is {norm}, it must be 1 or more")
        self.norm = norm

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: RGB image ``(3, ...)`` of any range from 0 (black).

        Returns:
            The balanced image, floating point.

        Raises:
            ValueError: when the image is not RGB or has negative values.
        """
        if img.shape[0] != 3:
            raise ValueError(f"image has {img.shape[0]} channels, 3 (RGB) expected: convert it by ToRGB")
        img = img if img.is_floating_point() else img.float()
        values = convert_to_tensor(img, track_meta=False).flatten(1).double()
        if values.min() < 0:
            raise ValueError(
                f"lowest value is {values.min():g}, the light is estimated from values of 0 or more: give a photograph"
            )
        if not values.any():
            return img
        # relative to the brightest value, so that no power overflows; n cancels
        light = torch.linalg.vector_norm(values / values.max(), ord=self.norm, dim=1)
        lit = light > 0
        gain = torch.where(lit, light[lit].mean() / light, 1.0)
        return img * gain.to(img.dtype).reshape(3, *[1] * (img.ndim - 1))


class ShadesOfGreyd(MapTransform):
    """Dictionary version of :class:`ShadesOfGrey`.

    Args:
        keys: keys of the images.
        norm: the exponent p.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(self, keys: KeysCollection, norm: float = 6.0, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.balance = ShadesOfGrey(norm)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.balance(d[key])
        return d
