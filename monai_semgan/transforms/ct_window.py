# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""CT volumes through a window of Hounsfield units."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

logger = logging.getLogger(__name__)


class CTWindow(Transform):
    r"""Map the window :math:`[\mathrm{level} - \mathrm{width}/2, \mathrm{level} + \mathrm{width}/2]` to [-1, 1].

    Values beyond are clipped. A volume whose values lie within 0 to 255 is 8-bit CT, through a window already: 0 to 255
    become -1 to 1. All else is in Hounsfield units; unless it reaches from -100 (fat, air) to 100, a warning names its
    range.

    Args:
        level: centre of the window in Hounsfield units.
        width: width of the window in Hounsfield units; the default, 40 and 400, is that for the abdomen.

    Raises:
        ValueError: when the width is not positive.
    """

    def __init__(self, level: float = 40, width: float = 400) -> None:
        if not width > 0:
            raise ValueError(f"width is {width}, it has to be positive")
        self.level = level
        self.width = width

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: volume of any shape.

        Returns:
            The volume in [-1, 1].
        """
        low, high = img.min().item(), img.max().item()
        if low >= 0 and 1 < high <= 255:
            bottom, width = 0.0, 255.0
        else:
            bottom, width = self.level - self.width / 2, self.width
            if low > -100 or high < 100:
                logger.warning(
                    "%s: values from %g to %g are neither Hounsfield units nor 8 bits of a CT: is it one?",
                    *(file_of(img), low, high),
                )
        return ((img - bottom) * (2 / width) - 1).clamp(-1, 1)


def file_of(img: torch.Tensor) -> str:
    """Name the file an image is from."""
    return str(img.meta.get("filename_or_obj", "volume")) if isinstance(img, MetaTensor) else "volume"


class CTWindowd(MapTransform):
    """Dictionary version of :class:`CTWindow`.

    Args:
        keys: keys of the volumes.
        level: centre of the window in Hounsfield units.
        width: width of the window in Hounsfield units.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(
        self, keys: KeysCollection, level: float = 40, width: float = 400, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.window = CTWindow(level, width)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.window(d[key])
        return d
