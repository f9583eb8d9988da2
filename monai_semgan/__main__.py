# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The command ``semgan``, as ``python -m monai_semgan``."""

from __future__ import annotations

import sys

from monai_semgan.cli import main

if __name__ == "__main__":
    sys.exit(main())
