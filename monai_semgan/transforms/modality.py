# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What each volume gets by its own modality, the window of CT, and nothing where a volume holds no intensity."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    InvertibleTransform,
    MapTransform,
    Transform,
    allow_missing_keys_mode,
)
from monai.utils import TraceKeys, convert_to_dst_type, convert_to_tensor

from monai_semgan.networks.label_map import decided

logger = logging.getLogger(__name__)

# what files may say that they are
MODALITIES = ("ct", "mri")
SCALES = ("auto", "hu", "8bit")
# largest value of 8 bits
TOP = 255.0
# values beyond 0 to 255 that resampling 8 bits does not give
MARGIN = 100.0
# nothing is less dense than air, and padding has no lower values
LEAST = -4000.0
# negative values of 16 bits that were taken for unsigned lie above
WRAPPED = 60000.0


class ByModalityd(InvertibleTransform):
    """Apply the transform of an item's modality, so that volumes of several can be trained on together.

    The inverse is that of the same modality's transform; a prediction that is inverted need not name it.

    Args:
        transforms: dictionary transforms by the name of the modality.
        modality: that of items that do not name theirs, and whose file does not (see :func:`modality_of`).
        modality_key: key under which an item names its modality.
    """

    def __init__(
        self, transforms: Mapping[str, Callable[[Any], Any]], modality: str, modality_key: str = "modality"
    ) -> None:
        self.transforms = dict(transforms)
        self.modality = modality
        self.modality_key = modality_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """
        Args:
            data: the item.

        Returns:
            What the modality's transform makes of it.

        Raises:
            ValueError: when there is no transform for its modality.
        """
        found = modality_of(data, self.modality, self.modality_key)
        if found not in self.transforms:
            raise ValueError(f"modality is {found!r}, known are {', '.join(self.transforms)}")
        d = dict(self.transforms[found](data))
        for value in d.values():
            said = value.meta.get("modality") if isinstance(value, MetaTensor) else None
            if said and self.modality_key in data and said != found and found in MODALITIES:
                other = f"its Modality says that it is {said}, its item that it is {found}: taken as {found}"
                value.meta["warnings"] = list(dict.fromkeys([*value.meta.get("warnings", ()), other]))
        for key, value in d.items():
            if isinstance(value, MetaTensor):
                d[key] = self.push_transform(value, extra_info={"modality": found})
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Undo what the modality's transform did to the volumes that an item still has."""
        d = dict(data)
        found = None
        for value in d.values():
            traces = value.applied_operations if isinstance(value, MetaTensor) else []
            if traces and traces[-1][TraceKeys.CLASS_NAME] == type(self).__name__:
                found = self.pop_transform(value)[TraceKeys.EXTRA_INFO]["modality"]
        if found is None:
            return d
        chain = Compose([self.transforms[found]]).flatten()
        if not any(isinstance(step, InvertibleTransform) for step in chain.transforms):
            return d
        # a prediction comes without its label
        with allow_missing_keys_mode(chain):
            return chain.inverse(d)


def modality_of(data: Mapping[Hashable, Any], modality: str, modality_key: str = "modality") -> str:
    """Tell an item's modality: what its own key says, else what the file of a volume says, else ``modality``."""
    files = (value.meta.get("modality") for value in data.values() if isinstance(value, MetaTensor))
    return data.get(modality_key) or next((found for found in files if found), modality)


def tell(img: torch.Tensor, text: str) -> None:
    """Add a warning to those of an image; one that carries none gets it in the log."""
    if isinstance(img, MetaTensor):
        img.meta["warnings"] = [*img.meta.get("warnings", ()), text]
    else:
        logger.warning("%s", text)


class ThresholdByModalityd(MapTransform):
    """Decide by a probability that depends on the modality of the item; see :func:`modality_of`.

    Args:
        keys: keys of the probabilities.
        thresholds: the probability from which a voxel is foreground, by the name of the modality; or one for all. Of
            several classes the likeliest counts.
        modality: that of items that do not name theirs, and whose file does not.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(
        self,
        keys: KeysCollection,
        thresholds: Mapping[str, float] | float,
        modality: str,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.thresholds = thresholds
        self.modality = modality

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        threshold = threshold_of(d, self.thresholds, self.modality)
        for key in self.key_iterator(d):
            # whole numbers are a mask that is decided already
            if d[key].is_floating_point():
                values = decided(convert_to_tensor(d[key], track_meta=False), threshold)
                d[key] = convert_to_dst_type(values, d[key], dtype=values.dtype)[0]
        return d


def threshold_of(data: Mapping[Hashable, Any], thresholds: Mapping[str, float] | float, modality: str) -> float:
    """Tell the threshold of an item; see :class:`ThresholdByModalityd`."""
    return thresholds[modality_of(data, modality)] if isinstance(thresholds, Mapping) else thresholds


class EmptyOutsided(MapTransform, InvertibleTransform):
    """Leave out of results what a volume's file says is no intensity (``meta["outside"]``), such as padding.

    Volumes pass as they are, as their reader has put background there; the inverse makes predictions 0 there.

    Args:
        keys: keys of the volumes, as they were read.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            image = convert_to_tensor(d[key], track_meta=True)
            d[key] = self.push_transform(image, extra_info={"outside": image.meta.get("outside")})
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Make predictions 0 where the volume holds no intensity."""
        d = dict(data)
        for key in self.key_iterator(d):
            outside = self.pop_transform(d[key])[TraceKeys.EXTRA_INFO]["outside"]
            if outside is not None:
                d[key] = d[key].masked_fill(torch.as_tensor(outside.values), 0)
        return d


class CTWindow(Transform):
    r"""Map the window :math:`[\mathrm{level} - \mathrm{width}/2, \mathrm{level} + \mathrm{width}/2]` to [-1, 1].

    Values beyond are clipped. CT of 8 bits, which went through a window already, is brought back to the Hounsfield
    units of that window first. Which of the two a volume is, ``scale`` says, or the volume's metadata
    ``intensity_scale``, or, of "auto", its values:

    - Hounsfield units reach down to -100 (fat, air), which 8 bits do not, even resampled with splines; a warning names
      their range where they do not reach 100, or go below -4000.
    - 8 bits are stored as unsigned bytes that no slope rescales and reach both 0 and 255.
    - All else is refused, such as clipped Hounsfield units, or values that were never rescaled to them.

    Args:
        level: centre of the window in Hounsfield units.
        width: width of the window in Hounsfield units; the default, 40 and 400, is that for the abdomen.
        scale: "hu" for Hounsfield units, "8bit" for 0 to 255 through a window, "auto" to let the volume tell.
        stored_window: level and width of the window that CT of 8 bits went through; None: this window.

    Raises:
        ValueError: when a width is not positive, or the scale unknown.
    """

    def __init__(
        self,
        level: float = 40,
        width: float = 400,
        scale: str = "auto",
        stored_window: tuple[float, float] | None = None,
    ) -> None:
        self.stored_level, self.stored_width = stored_window or (level, width)
        if not min(width, self.stored_width) > 0:
            raise ValueError(f"width is {min(width, self.stored_width)}, it has to be positive")
        self.level = level
        self.width = width
        self.scale = known_scale(scale)

    def __call__(self, img: torch.Tensor, scale: str | None = None) -> torch.Tensor:
        """
        Args:
            img: volume of any shape.
            scale: in place of the setting.

        Returns:
            The volume in [-1, 1].

        Raises:
            ValueError: when nothing says whether it is in Hounsfield units or of 8 bits; or when it is said to be of 8
                bits and is not.
        """
        scale = known_scale(scale or self.scale)
        values = convert_to_tensor(img, track_meta=False)
        # torch would copy a large volume for its extremes, and for its type
        low, high = float(values.numpy().min()), float(values.numpy().max())
        meta = img.meta if isinstance(img, MetaTensor) else {}
        asked = scale
        if scale == "auto":
            scale = known_scale(meta.get("intensity_scale", scale))
        if scale == "auto":
            stored = meta.get("stored_dtype", str(img.dtype).removeprefix("torch."))
            scale = scale_of(low, high, stored, file_of(img))
        if scale == "8bit" and not -MARGIN < low <= high < TOP + MARGIN:
            raise ValueError(
                f"{Path(file_of(img)).name} has values from {low:g} to {high:g}, which are not of 8 bits: say 'hu'"
            )
        bottom, width = self.level - self.width / 2, self.width
        if scale == "8bit":
            step = self.stored_width / TOP
            bottom, width = (bottom - self.stored_level + self.stored_width / 2) / step, width / step
        floating = torch.promote_types(values.dtype, torch.float32)
        scaled = values.to(floating, copy=True).sub_(bottom).mul_(2 / width).sub_(1).clamp_(-1, 1)
        out = convert_to_dst_type(scaled, img, dtype=floating)[0]
        if asked == "auto" and scale == "hu" and (not LEAST <= low <= -MARGIN or high < MARGIN):
            tell(out, f"its values from {low:g} to {high:g} are not those of a CT in Hounsfield units: is it one?")
        return out


def known_scale(scale: str) -> str:
    """Refuse a scale that is not known."""
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}, known are {', '.join(SCALES)}")
    return scale


def scale_of(low: float, high: float, stored: str, name: str) -> str:
    """Tell Hounsfield units, "hu", from 8 bits, "8bit", by a volume's range and the type of its file's values.

    Raises:
        ValueError: when it may be either, see :class:`CTWindow`.
    """
    if low <= -MARGIN and stored != "int8" and high < WRAPPED:
        return "hu"
    if high > TOP + MARGIN:
        raise ValueError(
            f"{Path(name).name} has values from {low:g} to {high:g}: in Hounsfield units air is at -1000. Restore them "
            "(subtract 1024, or apply RescaleSlope and RescaleIntercept), or say 'hu' by the config id "
            'steps::window::scale or the key "intensity_scale" of its item; of MRI say --modality mri'
        )
    if stored == "uint8" and low == 0 and high == TOP:
        return "8bit"
    raise ValueError(
        f"{Path(name).name} has values from {low:g} to {high:g}, stored as {stored}: clipped Hounsfield units, or a CT "
        "of 8 bits through a window? Say which, 'hu' or '8bit': for all volumes by the config id steps::window::scale, "
        'for one by the key "intensity_scale" of its item'
    )


def file_of(img: torch.Tensor) -> str:
    """Name the file an image is from."""
    return str(img.meta.get("filename_or_obj", "volume")) if isinstance(img, MetaTensor) else "volume"


class CTWindowd(MapTransform):
    """Dictionary version of :class:`CTWindow`; an item's ``intensity_scale`` comes before the setting.

    Args:
        keys: keys of the volumes.
        level: centre of the window in Hounsfield units.
        width: width of the window in Hounsfield units.
        scale: "hu" for Hounsfield units, "8bit" for 0 to 255 through a window, "auto" to let each volume tell.
        stored_window: level and width of the window that CT of 8 bits went through; None: this window.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(
        self,
        keys: KeysCollection,
        level: float = 40,
        width: float = 400,
        scale: str = "auto",
        stored_window: tuple[float, float] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.window = CTWindow(level, width, scale, stored_window)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.window(d[key], d.get("intensity_scale"))
        return d
