# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Bring the copies that bundles hold up to date: ``python -m monai_semgan.recipes bundles/*``."""

from __future__ import annotations

import sys

from monai_semgan.recipes import main

if __name__ == "__main__":
    main(list(sys.argv[1:]))
