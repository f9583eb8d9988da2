# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Photographs as the camera of another hospital might have taken them."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.config import KeysCollection, PathLike
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_numpy
from PIL import Image
from skimage.filters import gaussian


class Camera(NamedTuple):
    """What :class:`CameraShift` does to one image.

    Attributes:
        cast: gain of each channel.
        brightness: gain of all channels.
        gamma: exponent, above 1 darkens.
        vignette: share of the light that the corners lose.
        blur: standard deviation of the blur in pixels, as a fraction of the shorter side.
        quality: JPEG quality, None without compression.
    """

    cast: tuple[float, ...]
    brightness: float
    gamma: float
    vignette: float
    blur: float
    quality: int | None


class CameraShift(Transform):
    """Change colours, exposure and sharpness of a photograph, for a test set that stands for another camera.

    In this order: colour cast, brightness (values saturate at 255), gamma, vignette, Gaussian blur, JPEG compression.
    Each is drawn uniformly from its range, anew for each image, from the seed and the name of the image's file
    (without its folder): an image is changed in the same way in every run and at any place of a list. The geometry
    stays, so there is nothing to invert.

    Args:
        seed: seed of all draws.
        cast: range of the gain of each channel.
        brightness: range of the gain of all channels.
        gamma: range of the exponent of values scaled to [0, 1].
        vignette: range of the share of the light that the corners lose; the loss rises with the square of the
            distance from the centre.
        blur: range of the standard deviation, as a fraction of the image's shorter side.
        quality: range of the JPEG quality, both ends included, None for no compression.

    Raises:
        ValueError: for a range that is none, or goes beyond what is possible.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        cast: tuple[float, float] = (0.75, 1.25),
        brightness: tuple[float, float] = (0.6, 1.3),
        gamma: tuple[float, float] = (0.8, 1.25),
        vignette: tuple[float, float] = (0.0, 0.6),
        blur: tuple[float, float] = (0.0, 0.01),
        quality: tuple[int, int] | None = (15, 60),
    ) -> None:
        for name, (low, high), limit in (
            ("cast", cast, np.inf),
            ("brightness", brightness, np.inf),
            ("gamma", gamma, np.inf),
            ("vignette", vignette, 1),
            ("blur", blur, 1),
            ("quality", quality or (1, 100), 100),
        ):
            if not 0 <= low <= high <= limit:
                raise ValueError(f"{name} is ({low}, {high}), no range within 0 to {limit}")
        self.seed = seed
        self.cast = cast
        self.brightness = brightness
        self.gamma = gamma
        self.vignette = vignette
        self.blur = blur
        self.quality = quality

    def camera(self, file: PathLike) -> Camera:
        """Draw what is done to the image of a file."""
        digest = hashlib.sha256(f"{self.seed}/{Path(file).name}".encode()).digest()
        # NumPy keeps the numbers of this generator the same for good
        random = np.random.RandomState(np.frombuffer(digest, dtype="<u4"))
        return Camera(
            cast=tuple(random.uniform(*self.cast, size=3).tolist()),
            brightness=random.uniform(*self.brightness),
            gamma=random.uniform(*self.gamma),
            vignette=random.uniform(*self.vignette),
            blur=random.uniform(*self.blur),
            quality=random.randint(self.quality[0], self.quality[1] + 1) if self.quality else None,
        )

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """
        Args:
            img: RGB photograph of values from 0 to 255, ``(3, H, W)`` or ``(3, W, H)``, with the metadata
                "filename_or_obj".

        Returns:
            The changed photograph, float32 from 0 to 255.

        Raises:
            ValueError: when the image is not RGB, has values of another range, or no file name.
        """
        if img.ndim != 3 or img.shape[0] != 3:
            raise ValueError(f"image has shape {tuple(img.shape)}, (3, H, W) expected: convert it by ToRGB")
        values = convert_to_numpy(img).astype(np.float32)
        # an image of 0 to 1 would pass for one that is all but black
        if not (values.min() >= 0 and 1 < values.max() <= 255):
            raise ValueError(
                f"image spans {values.min():g} to {values.max():g}, 8-bit values of 0 to 255 expected: save 8-bit RGB"
            )
        file = getattr(img, "meta", {}).get("filename_or_obj")
        if not file:
            raise ValueError("image has no file name to draw its change from: load it by LoadImaged")
        return convert_to_dst_type(photograph(values, self.camera(file)), img, dtype=torch.float32)[0]


def photograph(image: np.ndarray, camera: Camera) -> np.ndarray:
    """Change an image, ``(3, H, W)`` from 0 to 255, as a camera does."""
    image = np.minimum(image * np.reshape(camera.cast, (3, 1, 1)) * camera.brightness, 255)
    image = 255 * (image / 255) ** camera.gamma
    height, width = image.shape[1:]
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    image = image * (1 - camera.vignette * ((y * height) ** 2 + (x * width) ** 2) / (height**2 + width**2))
    sigma = camera.blur * min(height, width)
    image = gaussian(image, sigma, mode="nearest", preserve_range=True, channel_axis=0)
    if camera.quality is None:
        return image
    buffer = BytesIO()
    Image.fromarray(image.round().astype(np.uint8).transpose(1, 2, 0)).save(buffer, "JPEG", quality=camera.quality)
    return np.asarray(Image.open(buffer)).transpose(2, 0, 1)


class CameraShiftd(MapTransform):
    """Dictionary version of :class:`CameraShift`.

    Args:
        keys: keys of the photographs.
        allow_missing_keys: pass over keys that an item does not have.
        settings: those of :class:`CameraShift`.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False, **settings: Any) -> None:
        super().__init__(keys, allow_missing_keys)
        self.shift = CameraShift(**settings)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.shift(d[key])
        return d
