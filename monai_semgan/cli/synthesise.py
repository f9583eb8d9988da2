# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""``semgan synthesise BUNDLE OUTPUT``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("bundle", help="folder of a bundle, or the name of one that came along")
    parser.add_argument("output", help="folder for images, label maps, codes, samples.csv and datalist.json")
    parser.add_argument("--number", type=int, default=20000, help="samples that are kept")
    parser.add_argument("--truncation", type=float, default=1.0, help="1: full variety; less: nearer the mean image")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first sample; the others' follow")
    parser.add_argument("--weights", metavar="FILE", help="other weights than the bundle's")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    parser.add_argument(
        "--teacher", metavar="FILE", help="weights of a U-Net (semgan train --stages unet) to agree with"
    )
    parser.add_argument(
        "--agreement", type=float, default=0.85, help="least Dice of the U-Net's mask and the label map"
    )
    parser.add_argument(
        "--datalist", metavar="FILE", help="JSON file with lists of the images the model was trained on"
    )
    parser.add_argument("--root", metavar="DIR", help="folder that its paths start from; None: the datalist's own")
    parser.add_argument(
        "--list", nargs="+", default=["unlabeled"], metavar="NAME", dest="lists", help="lists of these images"
    )
    parser.add_argument(
        "--originality",
        type=float,
        default=0.8,
        help="least distance to a training image, as a share of its own to the nearest other training image",
    )
    parser.add_argument(
        "--variety", type=float, default=0.3, help="least distance of two samples' codes in standard deviations"
    )
    parser.add_argument("--pieces", type=int, help="connected pieces that a class comes in, 0: any; None: the bundle's")
    parser.add_argument(
        "--discriminator",
        metavar="STATE",
        help="state.pt of a GAN's training, whose D_r scores samples; weights that bundles ship hold no discriminator",
    )
    parser.add_argument(
        "--realism",
        type=float,
        default=0.05,
        help="share of the images of --datalist that D_r scores below the least of a sample; no datalist: score alone",
    )


def run(options: argparse.Namespace) -> int | None:
    """Run the command: the same command goes on where it was interrupted."""
    from monai_semgan.bundle import Bundle

    bundle = Bundle(options.bundle)
    from monai_semgan.apps.synthesise import DATALIST, SAMPLES, Filters, synthesise

    output = Path(options.output)
    summary = synthesise(
        bundle,
        output,
        number=options.number,
        truncation=options.truncation,
        seed=options.seed,
        filters=Filters(
            teacher=options.teacher,
            agreement=options.agreement,
            datalist=options.datalist,
            dataset_dir=options.root,
            lists=options.lists,
            originality=options.originality,
            variety=options.variety,
            pieces=options.pieces,
            discriminator=options.discriminator,
            realism=options.realism,
        ),
        weights=options.weights,
        device=options.device,
    )
    print(f"{summary}\n{output / DATALIST}\n{output / SAMPLES}\n{output / 'kept.png'}")
    return None
