# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""``semgan train BUNDLE``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_semgan.cli import add_settings, distributed, read_settings

if TYPE_CHECKING:
    from monai_semgan.bundle import Bundle

# with the configs of each; a later one is merged over an earlier
STAGES = {
    "unet": ("train_unet.yaml",),
    "gan": ("train_gan.yaml",),
    "encoder": ("train_encoder.yaml",),
    "student": ("train_unet.yaml", "train_student.yaml"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("bundle", help="folder of a bundle, or the name of one that came along")
    parser.add_argument("--datalist", required=True, help="JSON file with lists of images, of some with labels")
    parser.add_argument("--root", metavar="DIR", help="folder that its paths start from; None: the datalist's own")
    parser.add_argument(
        "--output", required=True, help="folder for unet/, gan/, encoder/ and student/; weights: student/model.pt"
    )
    parser.add_argument("--train-list", default="train", metavar="NAME", help="list of the labelled images")
    parser.add_argument("--val-list", default="val", metavar="NAME", help="list that the encoder is validated on")
    parser.add_argument(
        "--image-lists",
        nargs="*",
        default=["unlabeled"],
        metavar="NAME",
        help="lists whose labels are not read; none: the labelled images alone, and the U-Net is the student",
    )
    parser.add_argument(
        "--stages", nargs="+", choices=STAGES, default=list(STAGES), help="what to train, in this order"
    )
    parser.add_argument("--generator", metavar="FILE", help="checkpoint of another GAN; None: that of the stage gan")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--workers", type=int, default=2, help="threads that read images at the start")
    add_settings(parser)


def run(options: argparse.Namespace) -> int | None:
    """Run the command: each stage goes on where it was interrupted, and finished ones end at once."""
    from monai_semgan.bundle import Bundle

    bundle, output = Bundle(options.bundle), Path(options.output)
    common: dict[str, Any] = {"datalist": options.datalist, "train_list": options.train_list}
    common |= {"num_workers": options.workers} | ({"dataset_dir": options.root} if options.root else {})
    common |= {} if options.device == "auto" else {"device": options.device}
    unet, gan = output / "unet" / "model.pt", Path(options.generator or output / "gan" / "state.pt")
    for stage, configs in STAGES.items():
        settings = common | {"output_dir": output / stage}
        if stage not in options.stages:
            continue
        if stage != "unet":
            settings["image_lists"] = [*options.image_lists, options.train_list]
        if stage == "encoder":
            settings |= {"val_list": options.val_list, "gan_ckpt_path": gan}
            settings |= {"teacher_ckpt_path": unet} if unet.is_file() else {}
        if stage == "student":
            settings |= {"gan_ckpt_path": output / "encoder" / "model.pt", "teacher_ckpt_path": unet}
        if stage == "student" and not options.image_lists:
            put_student(unet, output)
            continue
        print(f"{stage}: {output / stage}", flush=True)
        known = bundle.read(*configs)
        chosen = read_settings(options.settings)
        # a setting of one stage alone is left out of the others
        settings |= {
            name: value for name, value in chosen.items() if len(options.stages) == 1 or name.split("::")[0] in known
        }
        bundle.run(*configs, *distributed("multi_gpu_train.yaml"), **settings)
    if "student" in options.stages:
        calibrate_on(bundle, options, output / "student" / "model.pt")
    return None


def put_student(unet: Path, output: Path) -> None:
    """Put the U-Net into the weights as the student: no images are left that it could teach another one on."""
    from monai_semgan.handlers.checkpoints import save_beside
    from monai_semgan.networks.weights import read_state

    weights, encoder = output / "student" / "model.pt", output / "encoder" / "model.pt"
    for path in (unet, encoder):
        if not path.is_file():
            raise ValueError(f"{path} is missing: train the stages unet, gan and encoder before student")
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_beside(read_state(unet), weights, "student.", encoder)
    print(f"student: the U-Net, in {weights}", flush=True)


def calibrate_on(bundle: Bundle, options: argparse.Namespace, weights: Path) -> None:
    """Let the weights know images of their kind and predict the Dice of their masks, where there are enough images."""
    from monai_semgan.apps.calibration import calibrate, learn_domain

    root = {"dataset_dir": options.root} if options.root else {}
    try:
        learn_domain(bundle, options.datalist, [options.train_list, *options.image_lists], weights=weights, **root)
    except ValueError as error:
        print(f"images of another kind are not told: {error}", flush=True)
    try:
        calibrate(bundle, options.datalist, options.val_list, weights=weights, **root)
    except ValueError as error:
        print(f"no Dice is predicted of masks: {error}", flush=True)
