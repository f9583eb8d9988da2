# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What goes beyond the paper in both trainings, one idea a file.

An ablation row that a docstring names stands in docs/train.md under "What each part adds".
"""

from __future__ import annotations
