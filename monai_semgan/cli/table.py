# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""``semgan table BUNDLE``."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("bundle", help="folder of a bundle, or the name of one that came along")
    parser.add_argument("--config", default="table.yaml", help="the experiment, in the bundle's configs or elsewhere")
    parser.add_argument("--root", metavar="DIR", help="folder of the data; None: what the experiment says")
    parser.add_argument(
        "--output", help="folder for checkpoints, results and the table; None: what the experiment says"
    )


def run(options: argparse.Namespace) -> int | None:
    """Run the command."""
    from monai_semgan.bundle import Bundle

    bundle = Bundle(options.bundle)
    from monai_semgan.apps.label_budget import table

    return table(bundle, options.config, options.root, options.output)
