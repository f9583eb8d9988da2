# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Small helpers."""

from __future__ import annotations

from monai_semgan.utils.bf16 import has_bf16
from monai_semgan.utils.keep_freed_memory import keep_freed_memory
from monai_semgan.utils.or_exit import or_exit
from monai_semgan.utils.piecewise_linear import piecewise_linear

__all__ = ["has_bf16", "keep_freed_memory", "or_exit", "piecewise_linear"]
