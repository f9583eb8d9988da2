# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Scores of a label map against its label, computed patient by patient."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor

from monai_semgan.metrics.volume_scores import volume_scores
from monai_semgan.transforms.axial import Axial


class VolumeScoresd(MapTransform):
    """Put the :func:`monai_semgan.metrics.volume_scores` of a mask into the item.

    Args:
        keys: key of the binary mask ``(1, ...)`` or ``(...)``, on the grid of its volume and with its affine.
        label_key: key of the label, on the same grid.
        scores_key: key for the scores.
    """

    def __init__(self, keys: KeysCollection, label_key: str = "label", scores_key: str = "scores") -> None:
        super().__init__(keys)
        self.label_key = label_key
        self.scores_key = scores_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            affine = d[key].affine
            label = convert_to_tensor(d[self.label_key], track_meta=False)
            # the mask may have lost its channel, which is the only one
            pred = convert_to_tensor(d[key], track_meta=False).reshape(-1, *d[key].shape[-3:])
            pred, label = (Axial()(MetaTensor(volume, affine=affine)) for volume in (pred, label))
            assert isinstance(pred, MetaTensor)
            spacing = affine_to_spacing(pred.affine.numpy(), 3)
            masks = [convert_to_tensor(volume, track_meta=False)[0] for volume in (pred, label)]
            d[self.scores_key] = volume_scores(masks[0], masks[1], spacing)
        return d
