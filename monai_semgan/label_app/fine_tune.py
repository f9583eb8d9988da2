# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The process of a fine-tuning: ``python -m monai.bundle run``, which ends with the server."""

from __future__ import annotations

import os
import sys

from monai.bundle import run

from monai_semgan.label_app.background import PARENT, end_with

if __name__ == "__main__":
    end_with(int(os.environ[PARENT]))
    run(config_file=sys.argv[1:], meta_file="configs/metadata.json", logging_file="configs/logging.conf")
