# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""MRI volumes, which have no unit, scaled by the intensities of the body."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import FillHoles, MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_tensor
from skimage.filters import threshold_otsu

from monai_semgan.transforms.ct_window import file_of

logger = logging.getLogger(__name__)

# pixels over which noise is averaged before the body is told from it
SMOOTHING = 5


class MRIScale(Transform):
    r"""Map the intensities of the body, from their :math:`p`-th to their :math:`(100 - p)`-th percentile, to [-1, 1].

    Values beyond are clipped, and all outside the body (see :func:`body_mask`) becomes -1, which removes noise and
    ghosts there. A volume with negative values of note is no magnitude image: a warning names its range.

    Args:
        percentile: p, in percent, from 0 to below 50.

    Raises:
        ValueError: when the percentile is out of range.
    """

    def __init__(self, percentile: float = 1) -> None:
        if not 0 <= percentile < 50:
            raise ValueError(f"percentile is {percentile}, it has to be from 0 to below 50")
        self.percentile = percentile

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: volume ``(C, row, column, slice)``.

        Returns:
            The volume in [-1, 1].
        """
        volume = convert_to_tensor(img, track_meta=False, dtype=torch.float32)
        low, high = volume.min().item(), volume.max().item()
        if low < -0.05 * high:
            logger.warning("%s: values from %g to %g are not those of MRI: is it one?", file_of(img), low, high)
        body = body_mask(volume)
        bottom, top = np.percentile(volume[body].numpy(), [self.percentile, 100 - self.percentile])
        scaled = ((volume - bottom) * (2 / max(top - bottom, 1e-6)) - 1).clamp(-1, 1)
        scaled[~body] = -1
        return convert_to_dst_type(scaled, img, dtype=torch.float32)[0]


def body_mask(volume: torch.Tensor) -> torch.Tensor:
    """Tell the body from air.

    Otsu's threshold of the logarithm of the smoothed intensities: it lies between noise and tissue, where that of the
    intensities themselves lies between dark and bright tissue. Holes in a slice, such as vessels and gas, are filled.

    Args:
        volume: ``(C, row, column, slice)``.

    Returns:
        Booleans of the same shape; all are true where there is one value only.
    """
    slices = volume.movedim(-1, 0)
    smooth = F.avg_pool2d(slices, SMOOTHING, stride=1, padding=SMOOTHING // 2, count_include_pad=False)
    smooth = smooth - smooth.min()
    # 1000 levels below the bright tissue: noise spans several of them
    levels = torch.log1p(smooth * (1000 / max(np.percentile(smooth.numpy(), 99), 1e-6))).numpy()
    if levels.min() == levels.max():
        return torch.ones_like(volume, dtype=torch.bool)
    fill = FillHoles()
    body = [convert_to_tensor(fill(mask), track_meta=False) for mask in levels > threshold_otsu(levels)]
    return torch.stack(body, dim=-1).bool()


class MRIScaled(MapTransform):
    """Dictionary version of :class:`MRIScale`.

    Args:
        keys: keys of the volumes.
        percentile: percentile of the body's intensities that becomes -1, in percent; as many become 1.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(self, keys: KeysCollection, percentile: float = 1, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.scale = MRIScale(percentile)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.scale(d[key])
        return d
