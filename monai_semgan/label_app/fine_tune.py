# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The process of a fine-tuning: ``python -m monai.bundle run``, which ends with the server."""

from __future__ import annotations

import sys

from monai.bundle import run

from monai_semgan.label_app.background import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    run(config_file=sys.argv[1:], meta_file="configs/metadata.json", logging_file="configs/logging.conf")
