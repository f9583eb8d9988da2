# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Dictionary versions of transforms."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import ensure_tuple_rep


class Dictionary(MapTransform):
    """Dictionary version of a transform.

    A subclass names the transform, and in ``per_key`` those of its settings that may be one for each key.

    Args:
        keys: keys of the tensors.
        arguments: settings of the transform.
        allow_missing_keys: pass over keys that an item does not have.
        settings: settings of the transform, by name.
    """

    transform: ClassVar[type]
    per_key: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, keys: KeysCollection, *arguments: Any, allow_missing_keys: bool = False, **settings: Any
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        number = len(self.keys)
        each = {name: ensure_tuple_rep(settings.pop(name), number) for name in self.per_key if name in settings}
        own = [{name: values[index] for name, values in each.items()} for index in range(number)]
        self.transforms = [self.transform(*arguments, **settings, **key_settings) for key_settings in own]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key, transform in self.key_iterator(d, self.transforms):
            d[key] = self.apply(transform, d[key], d)
        return d

    def apply(self, transform: Any, value: Any, item: Mapping[Hashable, Any]) -> Any:
        """Transform a value of an item."""
        return transform(value)


class InvertibleDictionary(Dictionary, InvertibleTransform):
    """Dictionary version of a transform that can be inverted; its settings are those of :class:`Dictionary`."""

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Undo the transform in the values that an item still has."""
        d = dict(data)
        for key, transform in self.key_iterator(d, self.transforms):
            d[key] = transform.inverse(d[key])
        return d
