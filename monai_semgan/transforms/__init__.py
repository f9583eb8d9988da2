# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Transforms that MONAI does not have."""

from __future__ import annotations

from monai_semgan.transforms.camera_shift import CameraShift as CameraShift
from monai_semgan.transforms.camera_shift import CameraShiftd as CameraShiftd
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation as DifferentiableAugmentation
from monai_semgan.transforms.display import ContentFrame as ContentFrame
from monai_semgan.transforms.display import ContentFramed as ContentFramed
from monai_semgan.transforms.display import DisplayOrder as DisplayOrder
from monai_semgan.transforms.display import DisplayOrderd as DisplayOrderd
from monai_semgan.transforms.display import EqualiseInsided as EqualiseInsided
from monai_semgan.transforms.display import SameFramed as SameFramed
from monai_semgan.transforms.display import ScaleInsided as ScaleInsided
from monai_semgan.transforms.display import ToGrey as ToGrey
from monai_semgan.transforms.display import ToGreyd as ToGreyd
from monai_semgan.transforms.display import ToRGB as ToRGB
from monai_semgan.transforms.display import ToRGBd as ToRGBd
from monai_semgan.transforms.empty_slices import MirroredEmptySlicesd as MirroredEmptySlicesd
from monai_semgan.transforms.empty_slices import ThinEmptySlicesd as ThinEmptySlicesd
from monai_semgan.transforms.fit_in_plane import FitInPlane as FitInPlane
from monai_semgan.transforms.fit_in_plane import FitInPlaned as FitInPlaned
from monai_semgan.transforms.fit_in_plane import InvertDecidedd as InvertDecidedd
from monai_semgan.transforms.label import BinaryMask as BinaryMask
from monai_semgan.transforms.label import BinaryMaskd as BinaryMaskd
from monai_semgan.transforms.label import LabelMap as LabelMap
from monai_semgan.transforms.label import LabelMapd as LabelMapd
from monai_semgan.transforms.label import ResizeLabel as ResizeLabel
from monai_semgan.transforms.label import ResizeLabeld as ResizeLabeld
from monai_semgan.transforms.label import SameGridd as SameGridd
from monai_semgan.transforms.modality import ByModalityd as ByModalityd
from monai_semgan.transforms.modality import CTWindow as CTWindow
from monai_semgan.transforms.modality import CTWindowd as CTWindowd
from monai_semgan.transforms.modality import EmptyOutsided as EmptyOutsided
from monai_semgan.transforms.modality import ThresholdByModalityd as ThresholdByModalityd
from monai_semgan.transforms.mri_scale import MRIScale as MRIScale
from monai_semgan.transforms.mri_scale import MRIScaled as MRIScaled
from monai_semgan.transforms.scores import SegmentationScoresd as SegmentationScoresd
from monai_semgan.transforms.scores import VolumeScoresd as VolumeScoresd
from monai_semgan.transforms.shades_of_grey import ShadesOfGrey as ShadesOfGrey
from monai_semgan.transforms.shades_of_grey import ShadesOfGreyd as ShadesOfGreyd
from monai_semgan.transforms.solid_organ import SolidOrgan as SolidOrgan
