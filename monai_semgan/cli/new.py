# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""``semgan new DATALIST BUNDLE_FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_semgan.cli import check_path, say


def positive(text: str) -> float:
    """Read hours."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("datalist", help='JSON file with lists of {"image": path, "label": path}')
    parser.add_argument("folder", help="the new bundle")
    parser.add_argument("--hours", type=positive, help="time for training and evaluation; None: what a full one takes")
    parser.add_argument(
        "--plan", metavar="FILE", nargs="?", const="", help="plan of an earlier call, edited; no FILE: FOLDER/plan.yaml"
    )
    parser.add_argument("--train-list", metavar="NAME", help="list of labelled images; None: the only one there is")
    parser.add_argument("--lists", nargs="+", metavar="NAME", help="lists to take; None: all of the datalist")
    parser.add_argument("--root", metavar="DIR", help="folder that the paths start from; None: the datalist's own")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    check_path(options.datalist, "datalist {} does not exist")
    if options.plan == "":
        options.plan = str(Path(options.folder) / "plan.yaml")
    check_path(options.plan, "plan {} does not exist")
    from monai_semgan.apps import new_bundle

    made = new_bundle.make(
        options.datalist,
        Path(options.folder),
        root=options.root,
        hours=options.hours,
        plan=options.plan,
        train_list=options.train_list,
        lists=options.lists,
        tell=say,
    )
    for line in made.told:
        print(line)
    return 0
