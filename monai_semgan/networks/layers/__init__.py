# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Layers of the StyleGAN2 family that MONAI does not have."""

from __future__ import annotations

from monai_semgan.networks.layers.equalized import EqualizedConv2d as EqualizedConv2d
from monai_semgan.networks.layers.equalized import EqualizedLinear as EqualizedLinear
from monai_semgan.networks.layers.fir import FIRFilter as FIRFilter
from monai_semgan.networks.layers.minibatch_stddev import MinibatchStdDev as MinibatchStdDev
from monai_semgan.networks.layers.modulated_conv import ModulatedConv2d as ModulatedConv2d
