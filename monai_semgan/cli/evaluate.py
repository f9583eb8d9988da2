# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""``semgan evaluate DATALIST OUTPUT``."""

from __future__ import annotations

import argparse

from monai_semgan.cli import check_path, distributed
from monai_semgan.cli.segment import add_inference, inference_settings, open_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("datalist", help='JSON file with lists of {"image": path, "label": path}')
    parser.add_argument("output", help="folder for masks, overlays, report.csv, report.html and summaries")
    parser.add_argument("--root", metavar="DIR", help="folder that its paths start from; None: the datalist's own")
    parser.add_argument("--list", default="test", metavar="NAME", help="list of the datalist")
    parser.add_argument("--unet", action="store_true", help="evaluate the U-Net whose weights --weights names")
    add_inference(parser)


def run(options: argparse.Namespace) -> int | None:
    """Run the command."""
    check_path(options.datalist, "datalist {} does not exist")
    check_path(options.root, "folder {}, which the datalist's paths start from, does not exist")
    files = ["inference.yaml", "evaluate.yaml"] + ["evaluate_unet.yaml"] * options.unet
    settings = inference_settings(options) | {"datalist": options.datalist, "list_key": options.list}
    if options.root:
        settings["dataset_dir"] = options.root
    open_bundle(options.bundle, settings).run(*files, *distributed("multi_gpu_inference.yaml"), **settings)
    return None
