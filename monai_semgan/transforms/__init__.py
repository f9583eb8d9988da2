# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Transforms that MONAI does not have."""

from __future__ import annotations

from monai_semgan.transforms.binary_mask import BinaryMask, BinaryMaskd
from monai_semgan.transforms.camera_shift import CameraShift, CameraShiftd
from monai_semgan.transforms.check_image import CheckImage, CheckImaged
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation
from monai_semgan.transforms.display_order import DisplayOrder, DisplayOrderd
from monai_semgan.transforms.save_mask import SaveMaskd
from monai_semgan.transforms.save_overlay import SaveOverlayd
from monai_semgan.transforms.segmentation_scores import SegmentationScoresd
from monai_semgan.transforms.shades_of_grey import ShadesOfGrey, ShadesOfGreyd
from monai_semgan.transforms.to_grey import ToGrey, ToGreyd
from monai_semgan.transforms.to_rgb import ToRGB, ToRGBd

__all__ = [
    "BinaryMask",
    "BinaryMaskd",
    "CameraShift",
    "CameraShiftd",
    "CheckImage",
    "CheckImaged",
    "DifferentiableAugmentation",
    "DisplayOrder",
    "DisplayOrderd",
    "SaveMaskd",
    "SaveOverlayd",
    "SegmentationScoresd",
    "ShadesOfGrey",
    "ShadesOfGreyd",
    "ToGrey",
    "ToGreyd",
    "ToRGB",
    "ToRGBd",
]
