# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""``semgan demo``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("bundles", nargs="*", metavar="BUNDLE", help="folders or names; none: all that have weights")
    parser.add_argument("--output", default="demo_output", help="folder for samples and results, a folder a bundle")
    parser.add_argument("--number", type=int, default=6, help="number of samples")


def run(options: argparse.Namespace) -> int | None:
    """Run the command."""
    from monai_semgan.bundle import Bundle, bundle_folders

    bundles = [Bundle(folder) for folder in options.bundles or bundle_folders()]
    from monai_semgan.apps.demo import demo

    codes = [
        demo(bundle, Path(options.output) / bundle.name, options.number)
        for bundle in bundles
        if options.bundles or bundle.weights()
    ]
    if not codes:
        raise ValueError("no bundle has weights: name one that was trained")
    return max(codes)
