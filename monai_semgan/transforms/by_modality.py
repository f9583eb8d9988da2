# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Each volume through the transform of its own modality."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from monai.transforms import Transform


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
        modality = data.get(self.modality_key, self.modality)
        if modality not in self.transforms:
            raise ValueError(f"modality is {modality!r}, known are {', '.join(self.transforms)}")
        return self.transforms[modality](data)
