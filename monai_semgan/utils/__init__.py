# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Small helpers."""

from __future__ import annotations

from monai_semgan.utils.bf16 import has_bf16
from monai_semgan.utils.or_exit import or_exit
from monai_semgan.utils.piecewise_linear import piecewise_linear

__all__ = ["has_bf16", "or_exit", "piecewise_linear"]
