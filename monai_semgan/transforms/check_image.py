# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Refuse images that cannot be segmented, before they turn into a plausible but empty result."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_numpy


class CheckImage(Transform):
    """Pass an image on unchanged, or say what is wrong with it.

    Args:
        channels: expected number of channels.
        spatial_dims: expected number of spatial dimensions.
        lower: lower percentile, in percent, of the intensity range that has to be more than one value, in one channel
            at least.
        upper: upper percentile, in percent.

    Raises:
        ValueError: when ``channels`` or ``spatial_dims`` is below 1, or the percentiles are no range.
    """

    def __init__(self, channels: int = 1, spatial_dims: int = 2, lower: float = 0.5, upper: float = 99.5) -> None:
        if channels < 1 or spatial_dims < 1:
            raise ValueError(f"channels={channels} and spatial_dims={spatial_dims} have to be 1 or more")
        if not 0 <= lower < upper <= 100:
            raise ValueError(f"lower={lower} and upper={upper} are no range of percentiles within 0 to 100")
        self.channels = channels
        self.spatial_dims = spatial_dims
        self.lower = lower
        self.upper = upper

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: channel-first image.

        Returns:
            The image as it came.

        Raises:
            ValueError: when it is empty, not finite, of one value or colour, or of other channels or dimensions.
        """
        name = Path(getattr(img, "meta", {}).get("filename_or_obj", "image")).name
        if img.ndim != self.spatial_dims + 1:
            raise ValueError(
                f"{name} has {img.ndim - 1} spatial dimensions (shape {tuple(img.shape[1:])}), {self.spatial_dims} "
                "expected: give one slice or one image a file"
            )
        if img.shape[0] != self.channels:
            raise ValueError(
                f"{name} has {channels(img.shape[0])}, {channels(self.channels)} expected: convert it, or use another "
                "bundle"
            )
        if img.numel() == 0:
            raise ValueError(f"{name} is empty (shape {tuple(img.shape)}): export it again")
        values = convert_to_numpy(img)
        bad = int(values.size - np.isfinite(values).sum())
        if bad:
            raise ValueError(f"{name} has {bad} of {values.size} values that are NaN or infinite: export it again")
        # each channel by itself: a picture of one colour is constant too
        values = values.reshape(self.channels, -1)
        low, high = np.percentile(values, [self.lower, self.upper], axis=1)
        if (low == high).all():
            extent = "all" if (values == values[:, :1]).all() else f"at least {self.upper - self.lower:g} % of the"
            colour = ", ".join(f"{value:g}" for value in low)
            raise ValueError(f"{name} is constant, {extent} values are {colour}: export it again")
        return img


def channels(number: int) -> str:
    """Tell a number of channels, and what kind of image has as many."""
    kind = {1: " (grey)", 3: " (RGB)", 4: " (RGBA)"}.get(number, "")
    return f"{number} channel{'s' if number != 1 else ''}{kind}"


class CheckImaged(MapTransform):
    """Dictionary version of :class:`CheckImage`.

    Args:
        keys: keys of the images.
        channels: expected number of channels.
        spatial_dims: expected number of spatial dimensions.
        lower: lower percentile, in percent, of the intensity range that has to be more than one value.
        upper: upper percentile, in percent.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(
        self,
        keys: KeysCollection,
        channels: int = 1,
        spatial_dims: int = 2,
        lower: float = 0.5,
        upper: float = 99.5,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.check = CheckImage(channels, spatial_dims, lower, upper)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.check(d[key])
        return d
