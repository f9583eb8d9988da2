# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""``semgan train BUNDLE``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from monai_semgan.cli import add_settings, check_path, distributed, read_settings
from monai_semgan.cli.new import positive

STAGES = ("unet", "gan", "encoder", "student")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("bundle", help="folder of a bundle, or the name of one that came along")
    parser.add_argument(
        "--datalist", help="JSON file with lists of images, of some with labels; None: the bundle's own"
    )
    parser.add_argument("--root", metavar="DIR", help="folder that its paths start from; None: the datalist's own")
    parser.add_argument(
        "--output",
        help="folder for unet/, gan/, encoder/, student/ and the report; None: runs/ in a bundle of your own",
    )
    parser.add_argument(
        "--hours",
        type=positive,
        help="time for all, evaluation and report included; more than before lengthens it; None: the bundle's",
    )
    parser.add_argument(
        "--train-list", metavar="NAME", help="list of the labelled images; None: the bundle's, or train"
    )
    parser.add_argument("--val-list", metavar="NAME", help="list to validate and choose on; None: the bundle's, or val")
    parser.add_argument(
        "--test-lists", nargs="*", metavar="NAME", help="lists that the report tells of besides; None: the bundle's"
    )
    parser.add_argument(
        "--image-lists",
        nargs="*",
        metavar="NAME",
        help="lists whose labels are not read; none: the labelled images alone, and the U-Net is the student; None: "
        "the bundle's, or unlabeled",
    )
    parser.add_argument(
        "--stages", nargs="+", choices=STAGES, default=list(STAGES), help="what to train, in this order"
    )
    parser.add_argument("--generator", metavar="FILE", help="checkpoint of another GAN; None: that of the stage gan")
    parser.add_argument(
        "--report", action="store_true", help="evaluate and report at the end, as of bundles of your own"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--workers", type=int, default=2, help="threads that read images at the start")
    add_settings(parser)


def run(options: argparse.Namespace) -> int | None:
    """Run the command: each stage goes on where it was interrupted, and finished ones end at once."""
    check_path(options.datalist, "datalist {} does not exist")
    from monai_semgan.apps.training import SHARES, Job, train
    from monai_semgan.bundle import Bundle
    from monai_semgan.handlers.time_budget import read_record

    bundle = Bundle(options.bundle)
    settings = bundle.read("settings.yaml")
    own: dict[str, Any] = settings.get("training", {})
    datalist = options.datalist or (own and bundle.root / own["datalist"])
    if not datalist:
        raise ValueError(f"{bundle.name} names no data: say --datalist FILE")
    if not options.output and not own:
        raise ValueError("say where the training goes: --output DIR")
    # another datalist has lists of its own
    own_lists = own if not options.datalist else {}
    lists = [name for name in settings["image_lists"] if name != settings["train_list"]] if own_lists else ["unlabeled"]
    output = Path(options.output or bundle.root / "runs")
    several = distributed("multi_gpu_train.yaml")
    common: dict[str, Any] = {"num_workers": options.workers}
    train(
        Job(
            bundle=bundle,
            datalist=Path(datalist),
            output=output,
            train_list=options.train_list or (settings["train_list"] if own_lists else "train"),
            image_lists=options.image_lists if options.image_lists is not None else lists,
            val_list=options.val_list or own_lists.get("val_list", "val"),
            test_lists=options.test_lists if options.test_lists is not None else own_lists.get("test_lists", []),
            root=options.root,
            stages=[stage for stage in STAGES if stage in options.stages],
            # without a word the time that it was given before
            hours=options.hours
            or (max(own["hours"], read_record(output / "time.json").get("hours") or 0) if own else None),
            shares=own.get("shares", SHARES),
            generator=options.generator,
            settings=read_settings(options.settings),
            common=common | ({} if options.device == "auto" else {"device": options.device}),
            evaluate=bool(own or options.report) and not several,
        ),
        several,
    )
    return None
