# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Layers of the StyleGAN2 family that MONAI does not have."""

from __future__ import annotations

from monai_semgan.networks.layers.equalized import EqualizedConv2d, EqualizedLinear
from monai_semgan.networks.layers.fir import FIRFilter
from monai_semgan.networks.layers.minibatch_stddev import MinibatchStdDev
from monai_semgan.networks.layers.modulated_conv import ModulatedConv2d

__all__ = ["EqualizedConv2d", "EqualizedLinear", "FIRFilter", "MinibatchStdDev", "ModulatedConv2d"]
