# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from monai.data import MetaTensor

from monai_semgan.transforms.volume_scores import VolumeScoresd
from tests.volume_files import FEET, FRONT, LEFT, affine_of


def test_slices_are_axial_whatever_the_storage() -> None:
    # stored coronal: the second index runs to the feet, 0.7 mm apart
    mask, label = torch.zeros(1, 12, 10, 6), torch.zeros(1, 12, 10, 6)
    label[:, 2:5, 2:6, 1:4] = 1
    mask[:, 2:5, 2:8, 1:4] = 1
    affine = affine_of(LEFT, FEET, FRONT)
    scores = VolumeScoresd("pred")({"pred": MetaTensor(mask, affine=affine), "label": MetaTensor(label)})["scores"]
    assert scores["false_positive_voxels"] == 3 * 2 * 3
    assert abs(scores["label_volume_ml"] - 36 * 1.5 * 0.7 * 4 / 1000) < 1e-6
    # 36 of 54 predicted voxels
    assert abs(scores["dice"] - 2 * 36 / (36 + 54)) < 1e-6
    assert abs(scores["hausdorff95_mm"] - 2 * 0.7) < 1e-6
