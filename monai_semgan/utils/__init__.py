# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Small helpers."""

from __future__ import annotations

from monai_semgan.utils.bf16 import has_bf16
from monai_semgan.utils.or_exit import or_exit

__all__ = ["has_bf16", "or_exit"]
