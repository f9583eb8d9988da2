# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""MRI volumes, which have no unit, brought to a scale by the intensities of the body."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import FillHoles, MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_tensor
from skimage.filters import threshold_otsu

from monai_semgan.transforms.modality import tell

# pixels over which noise is averaged before the body is told from it
SMOOTHING = 5


class MRIScale(Transform):
    r"""Map percentiles of the body's intensities to landmarks, linear between them.

    The K percentiles are evenly spaced from p to 100 - p (Nyul, Udupa and Zhang, "New variants of a method of MRI scale
    standardization", IEEE TMI 2000). Two landmarks, -1 and 1, keep the shape of the histogram. With those of CT
    (:func:`intensity_landmarks`), tissues get about the brightness that a generator of CT slices knows them by, as far
    as their order is the same.

    Values beyond the percentiles are clipped, and all outside the body (see :func:`body_mask`) becomes -1, which
    removes noise and ghosts there. A volume with negative values of note is no magnitude image: a warning names its
    range.

    Args:
        percentile: p, in percent, from 0 to below 50.
        landmarks: K values in [-1, 1], at least two, which never fall.

    Raises:
        ValueError: when the percentile is out of range, or the landmarks are.
    """

    def __init__(self, percentile: float = 1, landmarks: Sequence[float] = (-1.0, 1.0)) -> None:
        if len(landmarks) < 2 or not -1 <= landmarks[0] <= landmarks[-1] <= 1 or (np.diff(landmarks) < 0).any():
            raise ValueError(f"landmarks are {list(landmarks)}, they have to be two or more from -1 to 1 and not fall")
        self.landmarks = tuple(landmarks)
        self.percentiles = percentiles(len(landmarks), percentile)

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: volume ``(C, row, column, slice)``.

        Returns:
            The volume in [-1, 1].
        """
        volume = convert_to_tensor(img, track_meta=False, dtype=torch.float32)
        low, high = volume.min().item(), volume.max().item()
        body = body_mask(volume)
        found = np.percentile(volume[body].numpy(), self.percentiles)
        # by slices, as interpolation is in double precision
        scaled = [torch.from_numpy(np.interp(part, found, self.landmarks)).float() for part in volume.unbind(-1)]
        out = torch.stack(scaled, dim=-1)
        out[~body] = -1
        scaled_like = convert_to_dst_type(out, img, dtype=torch.float32)[0]
        if low < -0.05 * high:
            tell(scaled_like, f"its values from {low:g} to {high:g} are not those of MRI: is it one?")
        return scaled_like


def percentiles(number: int, percentile: float) -> np.ndarray:
    """Space so many percentiles evenly from ``percentile`` to 100 - ``percentile``.

    Raises:
        ValueError: when it is not from 0 to below 50.
    """
    if not 0 <= percentile < 50:
        raise ValueError(f"percentile is {percentile}, it has to be from 0 to below 50")
    return np.linspace(percentile, 100 - percentile, number)


def intensity_landmarks(volumes: Iterable[torch.Tensor], number: int = 11, percentile: float = 1) -> list[float]:
    """Mean over volumes of evenly spaced percentiles of the body's intensities, landmarks for :class:`MRIScale`.

    Args:
        volumes: volumes in [-1, 1], ``(C, row, column, slice)``, such as CT through its window.
        number: how many landmarks.
        percentile: the first, in percent; the last is as far from 100.

    Returns:
        The landmarks in [-1, 1], ascending.

    Raises:
        ValueError: when there is no volume, or the percentile is out of range.
    """
    levels = percentiles(number, percentile)
    found = [np.percentile(volume[body_mask(volume)].numpy(), levels) for volume in volumes]
    if not found:
        raise ValueError("no volume to take landmarks from: name at least one")
    return [float(value) for value in np.mean(found, axis=0)]


def body_mask(volume: torch.Tensor) -> torch.Tensor:
    """Tell the body from air in a volume ``(C, row, column, slice)``; all is body where there is one value only.

    Otsu's threshold of the logarithm of the smoothed intensities: it lies between noise and tissue, where that of the
    intensities themselves lies between dark and bright tissue. Holes in a slice, such as vessels and gas, are filled.
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
        percentile: percentile of the body's intensities that becomes the first landmark, in percent.
        landmarks: what evenly spaced percentiles become, in [-1, 1].
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(
        self,
        keys: KeysCollection,
        percentile: float = 1,
        landmarks: Sequence[float] = (-1.0, 1.0),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.scale = MRIScale(percentile, landmarks)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.scale(d[key])
        return d
