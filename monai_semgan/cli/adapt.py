# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""``semgan adapt BUNDLE IMAGES OUTPUT``."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from monai_semgan.cli import add_settings, at_least, check_path, distributed, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("bundle", help="folder of a bundle, or the name of one that came along")
    parser.add_argument("images", help="folder of images or volumes without labels, of the new scanner or modality")
    parser.add_argument("output", help="folder for the weights, model.pt, and a folder a round")
    parser.add_argument(
        "--modality", type=str.lower, choices=("ct", "mri", "mr"), help="of volumes whose file does not tell; None: ct"
    )
    parser.add_argument("--weights", metavar="FILE", help="weights to start from; None: the bundle's")
    parser.add_argument("--datalist", help="JSON file with labelled images to be learned beside; None: none")
    parser.add_argument("--root", metavar="DIR", help="folder that its paths start from; None: the datalist's own")
    parser.add_argument("--train-list", default="train", metavar="NAME", help="list of the labelled images")
    parser.add_argument("--rounds", type=at_least(1), default=3, help="how often images are labelled and learned")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--workers", type=int, default=2, help="threads that read images at the start")
    add_settings(parser)


def run(options: argparse.Namespace) -> int | None:
    """Run the command: a finished round ends at once, an interrupted one goes on."""
    check_path(options.images, "{} does not exist: name a folder of images or volumes")
    check_path(options.weights, "weights {} do not exist: name another file")
    check_path(options.datalist, "datalist {} does not exist")
    from monai_semgan.bundle import Bundle

    bundle, output = Bundle(options.bundle), Path(options.output)
    if options.weights is None and (lacking := bundle.lacking()):
        raise FileNotFoundError(lacking)
    start = Path(options.weights or bundle.root / "models" / bundle.weights()[0])
    modality = "mri" if options.modality == "mr" else options.modality
    given = {
        "datalist": options.datalist,
        "dataset_dir": options.root,
        "images_modality": modality if bundle.spatial_dims == 3 else None,
        "device": None if options.device == "auto" else options.device,
    }
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings |= {"images_dir": options.images, "train_list": options.train_list, "num_workers": options.workers}
    settings |= read_settings(options.settings)
    for number in range(1, options.rounds + 1):
        folder = output / f"round_{number}"
        print(f"round {number} of {options.rounds}: {folder}", flush=True)
        bundle.run(
            "train_unet.yaml",
            "adapt.yaml",
            *distributed("multi_gpu_train.yaml"),
            **settings,
            start_ckpt_path=start,
            output_dir=folder,
        )
        start = folder / "model.pt"
    shutil.copyfile(start, output / "model.pt")
    print(f"weights: {output / 'model.pt'}", flush=True)
    return None
