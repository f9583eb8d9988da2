# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What each volume gets by its own modality."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from monai.transforms import Transform

Setting = TypeVar("Setting")


def by_modality(
    settings: Mapping[str, Setting], data: Mapping[Hashable, Any], modality: str | None, modality_key: str = "modality"
) -> Setting:
    """Pick what belongs to an item's modality.

    Args:
        settings: one for each modality, by its name.
        data: the item.
        modality: that of items that do not name theirs.
        modality_key: key under which an item names its modality.

    Returns:
        The modality's setting.

    Raises:
        ValueError: when there is none.
    """
    found = data.get(modality_key, modality)
    if found not in settings:
        raise ValueError(f"modality is {found!r}, known are {', '.join(settings)}")
    return settings[found]


class ByModalityd(Transform):
    """Apply the transform of an item's modality, so that volumes of several can be trained on together.

    Args:
        transforms: dictionary transforms by the name of the modality.
        modality: that of items that do not name theirs.
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
        return by_modality(self.transforms, data, self.modality, self.modality_key)(data)
