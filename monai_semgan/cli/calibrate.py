# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""``semgan calibrate BUNDLE DATALIST``."""

from __future__ import annotations

import argparse
import logging

from monai_semgan.cli import add_settings, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("bundle", help="folder of a bundle, or the name of one that came along")
    parser.add_argument("datalist", help="JSON file with a list of images and labels that were not trained on")
    parser.add_argument("--list", default="val", metavar="NAME", help="its name")
    parser.add_argument(
        "--image-lists",
        nargs="+",
        default=[],
        metavar="NAME",
        help="lists of images like those that come",
    )
    parser.add_argument(
        "--against",
        nargs="*",
        metavar="DIR",
        help="folders of images of other kinds: measure how well they are told from --image-lists, and change nothing",
    )
    parser.add_argument("--root", metavar="DIR", help="folder that its paths start from; None: the datalist's own")
    parser.add_argument("--weights", metavar="FILE", help="file that is calibrated; None: the bundle's newest")
    parser.add_argument("--table", metavar="FILE", help="CSV file for confidence and Dice of each image and copy")
    parser.add_argument("--copies", type=int, default=8, help="harder copies of each image")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    add_settings(parser)


def run(options: argparse.Namespace) -> int | None:
    """Run the command."""
    from monai_semgan.bundle import Bundle

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    bundle = Bundle(options.bundle)
    if options.weights is None and (lacking := bundle.lacking()):
        raise FileNotFoundError(lacking)
    weights = options.weights or bundle.root / "models" / bundle.weights()[0]
    given = {"dataset_dir": options.root, "device": None if options.device == "auto" else options.device}
    settings = {name: value for name, value in given.items() if value is not None} | read_settings(options.settings)
    if options.against is not None:
        from monai_semgan.apps.image_kinds import against, in_markdown

        lists = options.image_lists or [options.list]
        print(in_markdown(against(bundle, options.datalist, lists, options.against, weights=weights, **settings)))
        return None
    from monai_semgan.apps.calibration import calibrate, learn_domain

    if options.image_lists:
        learn_domain(bundle, options.datalist, options.image_lists, weights=weights, **settings)
    settings |= {"copies": options.copies, "table": options.table}
    calibrate(bundle, options.datalist, options.list, weights=weights, **settings)
    return None
