# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""``semgan segment INPUT OUTPUT``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from monai_semgan.cli import add_settings, at_least, check_path, distributed, read_settings, say

if TYPE_CHECKING:
    from monai_semgan.bundle import Bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("input", help="a folder, searched with all folders in it, or one file")
    parser.add_argument("output", help="folder for masks, overlays, report.csv and report.html")
    parser.add_argument(
        "--format",
        action="extend",
        type=lambda text: text.split(","),
        metavar="NAME",
        help="files of a mask: auto (PNG of pictures, else NIfTI), nifti, png, nrrd or seg (DICOM SEG), several with "
        "commas; None: the bundle's",
    )
    add_inference(parser)
    parser.add_argument("--datalist", help="JSON file that names the images; INPUT is the folder its paths start from")
    parser.add_argument("--list", default="test", metavar="NAME", help="list of the datalist")


def add_inference(parser: argparse.ArgumentParser) -> None:
    """Add what all commands that segment take."""
    parser.add_argument("--bundle", default="lung_xray", help="folder of a bundle, or the name of one that came along")
    parser.add_argument("--preset", choices=("fast", "balanced", "best"), help="time an image gets; None: the bundle's")
    parser.add_argument("--steps", type=at_least(-1), help="steps of refinement; 0: encoder alone, None: the preset's")
    parser.add_argument("--answer", choices=("both", "gan", "student"), help="whose mask it is; None: the bundle's")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--batch-size", type=at_least(1), help="images refined together; None: the bundle's")
    parser.add_argument("--workers", type=at_least(0), default=0, help="processes that read images")
    parser.add_argument("--weights", metavar="FILE", help="other weights than the bundle's")
    parser.add_argument(
        "--modality", type=str.lower, choices=("ct", "mri", "mr"), help="of volumes whose file does not tell; None: ct"
    )
    parser.add_argument("--insist", action="store_true", help="take images too that say that they are of another kind")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    add_settings(parser)


def inference_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Settings of inference.yaml by id, from the options that were given.

    Raises:
        FileNotFoundError: when the weights do not exist.
        ValueError: when a setting is no ID=VALUE.
    """
    check_path(options.weights, "weights {} do not exist: name another file, or train them, see the bundle's README.md")
    # as DICOM calls it
    modality = "mri" if options.modality == "mr" else options.modality
    given = {
        "output_dir": options.output,
        "displayable_configs::preset": options.preset,
        "displayable_configs::refine_steps": options.steps,
        "displayable_configs::answer": options.answer,
        "device": None if options.device == "auto" else options.device,
        "batch_size": options.batch_size,
        "num_workers": options.workers,
        "ckpt_path": options.weights,
        "modality": modality,
        # so that a file that says another is told of
        "steps::read::reader::modality": modality,
        "insist": options.insist,
        "resume": options.resume,
    }
    return {name: value for name, value in given.items() if value is not None} | read_settings(options.settings)


def open_bundle(name: str, settings: Mapping[str, Any]) -> Bundle:
    """Open a bundle that is to segment with these settings.

    Raises:
        FileNotFoundError: when there is no such bundle, or no weights.
    """
    from monai_semgan.bundle import Bundle, bundle_folders

    bundle = Bundle(name)
    if bundle.root not in bundle_folders():
        say(f"{bundle.name} did not come along: a bundle's configs are code, run only those that you trust")
    if "ckpt_path" not in settings and (lacking := bundle.lacking()):
        raise FileNotFoundError(lacking)
    return bundle


def run(options: argparse.Namespace) -> int | None:
    """Run the command."""
    check_path(options.input, "{} does not exist: name a folder of images or volumes, or one of them")
    check_path(options.datalist, "datalist {} does not exist")
    settings = {"dataset_dir": options.input} | inference_settings(options)
    if options.format:
        settings["formats"] = options.format
    if options.datalist:
        settings |= {"datalist": options.datalist, "list_key": options.list}
    open_bundle(options.bundle, settings).run("inference.yaml", *distributed("multi_gpu_inference.yaml"), **settings)
    return None
