# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Landmarks of the CT volumes that a model was trained on, to which MRI volumes are brought.

``python -m monai_semgan.apps.intensity_landmarks --datalist FILE.json --dataset_dir ROOT --list_key train_8``

The line that it prints belongs under ``mri`` in the liver bundle's ``configs/inference.yaml``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from monai.bundle import ConfigParser

from monai_semgan.data import volume_cohort
from monai_semgan.transforms.mri_scale import intensity_landmarks

BUNDLE = Path("bundles/liver_ct_mri_segmentation")


def volumes(bundle: Path, datalist: Path, dataset_dir: Path, list_key: str) -> Iterator[torch.Tensor]:
    """Read volumes as the bundle's inference does before slices are brought to the network's size.

    Args:
        bundle: the bundle's folder.
        datalist: JSON file with lists of ``{"image": path}``.
        dataset_dir: the folder that its paths start from.
        list_key: the list.

    Yields:
        Volumes in [-1, 1], ``(C, row, column, slice)``.
    """
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    loading = parser.get_parsed_content("loading")
    for item in volume_cohort(dataset_dir, datalist=datalist, list_key=list_key):
        yield loading(item)["image"].as_tensor()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the landmarks of a list.

    Args:
        arguments: the command line; ``sys.argv`` by default.

    Returns:
        The exit code, 0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m monai_semgan.apps.intensity_landmarks", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--datalist", type=Path, required=True, help="JSON file with lists of images")
    parser.add_argument("--dataset_dir", type=Path, required=True, help="folder that its paths start from")
    parser.add_argument("--list_key", required=True, help="list of the CT volumes that the model was trained on")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="the bundle whose loading is used")
    parser.add_argument("--number", type=int, default=11, help="how many landmarks, 11 lie near the deciles")
    parser.add_argument("--percentile", type=float, default=1, help="the first percentile; the last is as far from 100")
    options = parser.parse_args(arguments)
    try:
        found = intensity_landmarks(
            volumes(options.bundle, options.datalist, options.dataset_dir, options.list_key),
            options.number,
            options.percentile,
        )
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    print(f"landmarks: [{', '.join(f'{value:.2f}' for value in found)}]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
