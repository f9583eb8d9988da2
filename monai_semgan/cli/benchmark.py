# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""``semgan benchmark``."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command: those of the program that measures."""
    from monai_semgan.benchmark.__main__ import add_arguments

    add_arguments(parser)


def run(options: argparse.Namespace) -> int | None:
    """Run the command."""
    from monai_semgan.benchmark.__main__ import run

    return run(options)
