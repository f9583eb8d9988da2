# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Transforms that MONAI does not have."""

from __future__ import annotations

from monai_semgan.transforms.axial import Axial, Axiald
from monai_semgan.transforms.binary_mask import BinaryMask, BinaryMaskd
from monai_semgan.transforms.by_modality import ByModalityd
from monai_semgan.transforms.camera_shift import CameraShift, CameraShiftd
from monai_semgan.transforms.check_image import CheckImage, CheckImaged
from monai_semgan.transforms.ct_window import CTWindow, CTWindowd
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation
from monai_semgan.transforms.display_order import DisplayOrder, DisplayOrderd
from monai_semgan.transforms.fit_in_plane import FitInPlane, FitInPlaned
from monai_semgan.transforms.mirrored_empty_slices import MirroredEmptySlicesd
from monai_semgan.transforms.mri_scale import MRIScale, MRIScaled
from monai_semgan.transforms.same_grid import SameGridd
from monai_semgan.transforms.save_label_map import SaveLabelMapd
from monai_semgan.transforms.save_mask import SaveMaskd
from monai_semgan.transforms.save_overlay import SaveOverlayd
from monai_semgan.transforms.save_slice_errors import SaveSliceErrorsd
from monai_semgan.transforms.save_volume_page import SaveVolumePaged
from monai_semgan.transforms.segmentation_scores import SegmentationScoresd
from monai_semgan.transforms.shades_of_grey import ShadesOfGrey, ShadesOfGreyd
from monai_semgan.transforms.thin_empty_slices import ThinEmptySlicesd
from monai_semgan.transforms.to_grey import ToGrey, ToGreyd
from monai_semgan.transforms.to_rgb import ToRGB, ToRGBd
from monai_semgan.transforms.volume_scores import VolumeScoresd

__all__ = [
    "Axial",
    "Axiald",
    "BinaryMask",
    "BinaryMaskd",
    "ByModalityd",
    "CTWindow",
    "CTWindowd",
    "CameraShift",
    "CameraShiftd",
    "CheckImage",
    "CheckImaged",
    "DifferentiableAugmentation",
    "DisplayOrder",
    "DisplayOrderd",
    "FitInPlane",
    "FitInPlaned",
    "MRIScale",
    "MRIScaled",
    "MirroredEmptySlicesd",
    "SameGridd",
    "SaveLabelMapd",
    "SaveMaskd",
    "SaveOverlayd",
    "SaveSliceErrorsd",
    "SaveVolumePaged",
    "SegmentationScoresd",
    "ShadesOfGrey",
    "ShadesOfGreyd",
    "ThinEmptySlicesd",
    "ToGrey",
    "ToGreyd",
    "ToRGB",
    "ToRGBd",
    "VolumeScoresd",
]
