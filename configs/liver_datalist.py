# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A datalist.json for the liver bundle from MSD Task03_Liver or LiTS, and CHAOS, in folders as downloaded.

``python configs/liver_datalist.py --msd Task03_Liver --chaos CHAOS --output liver/datalist.json``

CT volumes stay where they are. Their labels become binary (tumours belong to the liver), and CHAOS, DICOM files with
masks in PNG files, becomes NIfTI; what is converted goes beside the datalist.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from monai_semgan.formats.dicom_series import Slice, read_header, read_slices, stacked

Item = dict[str, str]
# grey value of the liver in masks of CHAOS; those of MRI show other organs too
CHAOS_LIVER: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ct": lambda mask: mask > 0,
    "mri": lambda mask: (mask > 55) & (mask <= 70),
}
CHAOS_FOLDERS = {"ct": "CT/*/DICOM_anon", "mri": "MR/*/T2SPIR/DICOM_anon"}


def read_msd(folder: Path, output: Path) -> Iterator[Item]:
    """Read Task03_Liver of the Medical Segmentation Decathlon by its ``dataset.json``.

    Args:
        folder: the folder that holds it.
        output: folder for the binary labels.

    Yields:
        Items, those of the challenge's own test set without label.
    """
    listed = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    for pair in listed["training"]:
        yield ct_item(folder / pair["image"], folder / pair["label"], output)
    for image in listed["test"]:
        yield ct_item(folder / image, None, output)


def read_lits(folder: Path, output: Path) -> Iterator[Item]:
    """Read LiTS, ``volume-N.nii`` and ``segmentation-N.nii`` in any folders within one.

    Args:
        folder: the folder.
        output: folder for the binary labels.

    Yields:
        Items, volumes of the challenge's test set without label.
    """
    files = {path.name: path for path in sorted(folder.rglob("*.nii*")) if not path.name.startswith(".")}
    for name, path in files.items():
        if "volume-" in name:
            yield ct_item(path, files.get(name.replace("volume-", "segmentation-")), output)


def ct_item(image: Path, label: Path | None, output: Path) -> Item:
    """Make the item of a CT volume, its label with all that is not background as liver."""
    name = image.name.split(".")[0]
    item = {"image": str(image), "patient": name, "modality": "ct"}
    if label is not None:
        stored: Any = nib.load(label)
        target = output / "labels" / f"{name}.nii.gz"
        write_volume(target, np.asarray(stored.dataobj) > 0, stored.affine)
        item["label"] = str(target)
    return item


def read_chaos(folder: Path, modality: str, output: Path) -> Iterator[Item]:
    """Convert the training volumes of CHAOS of a modality, which have masks.

    Args:
        folder: the folder with ``Train_Sets``.
        modality: "ct", or "mri", of which T2-SPIR is taken.
        output: folder for images and labels.

    Yields:
        Items.

    Raises:
        ValueError: when files cannot be read or masks do not fit them.
    """
    for series in sorted(folder.rglob(CHAOS_FOLDERS[modality])):
        masks = sorted((series.parent / "Ground").glob("*.png"))
        if masks:
            patient = f"chaos_{modality}_{series.relative_to(folder).parts[-3 if modality == 'mri' else -2]}"
            image, label, affine = read_chaos_volume(series, masks, CHAOS_LIVER[modality])
            item = {"patient": patient, "modality": modality}
            for key, array in (("image", image), ("label", label)):
                target = output / f"{key}s" / f"{patient}.nii.gz"
                write_volume(target, array, affine)
                item[key] = str(target)
            yield item


def read_chaos_volume(
    folder: Path, masks: Sequence[Path], liver: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the slices of a folder with their masks.

    A mask belongs to the DICOM file of its name; where their names are different altogether the order of the names
    tells, as in the evaluation of the challenge. Files of a folder are one volume, whatever their SeriesInstanceUID.

    Args:
        folder: DICOM files.
        masks: PNG files.
        liver: tells the liver by the grey values of a mask.

    Returns:
        Image and label, ``(column, row, slice)``, and affine.

    Raises:
        ValueError: when there are not as many masks as slices, or they are of another shape.
    """
    files = sorted(path for path in folder.glob("*.dcm") if not path.name.startswith("."))
    if len(files) != len(masks):
        raise ValueError(f"{folder} has {len(files)} DICOM files and {len(masks)} masks: extract the archive again")
    mask_of = dict(zip(files, masks))
    by_stem = {mask.stem: mask for mask in masks}
    if by_stem.keys() == {file.stem for file in files}:
        mask_of = {file: by_stem[file.stem] for file in files}
    stack = stacked([Slice(file, read_header(file)) for file in files])
    image, _ = read_slices(stack)
    label = np.zeros(image.shape, dtype=bool)
    for (file, *_), place in zip(stack.slices, stack.places):
        mask = liver(np.asarray(Image.open(mask_of[file]).convert("L"))).T
        if mask.shape != image.shape[:2]:
            raise ValueError(f"masks of {folder} are of shape {mask.shape}, the slices of {image.shape[:2]}")
        label[..., place] = mask
    return image, label, stack.affine


def write_volume(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write a mask as unsigned bytes or an image as it is, as NIfTI in millimetres."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array.astype(np.uint8) if array.dtype == bool else array, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def split(items: Sequence[Item], seed: int = 0) -> dict[str, list[Item]]:
    """Share CT patients out to the lists of the bundle: 20 % to test, 10 % to val, and the others to train.

    Args:
        items: the patients, with or without label.
        seed: seed of the order in which they are taken.

    Returns:
        "test", "val", "train_2", "train_4", ..., up to all, each part of the next; and "unlabeled", the images of all
        that are not in test or val.

    Raises:
        ValueError: when there are fewer than 4 patients with labels.
    """
    labelled = sorted((item for item in items if "label" in item), key=lambda item: natural(item["patient"]))
    if len(labelled) < 4:
        raise ValueError(f"{len(labelled)} CT volumes with labels found, 4 are needed for train, val and test")
    order = np.random.default_rng(seed).permutation(len(labelled))
    tests, vals = max(1, round(0.2 * len(order))), max(1, round(0.1 * len(order)))
    shuffled = [labelled[index] for index in order]
    train = shuffled[tests + vals :]
    lists = {"test": shuffled[:tests], "val": shuffled[tests : tests + vals]}
    size = 2
    while size < len(train):
        lists[f"train_{size}"] = train[:size]
        size *= 2
    lists[f"train_{len(train)}"] = train
    images = [*train, *(item for item in items if "label" not in item)]
    lists["unlabeled"] = [{key: value for key, value in item.items() if key != "label"} for item in images]
    return lists


def natural(name: str) -> list[str | int]:
    """Order names by the numbers in them."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def located(item: Item, folder: Path) -> Item:
    """Give paths relative to the datalist's folder where they lie in it, and absolute elsewhere."""
    paths = {key: Path(item[key]).resolve() for key in ("image", "label") if key in item}
    return item | {
        key: (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
        for key, path in paths.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the datalist.

    Args:
        arguments: the command line; ``sys.argv`` by default.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="python configs/liver_datalist.py", description=__doc__.split("\n")[0])
    # both have the same patients
    trains = parser.add_mutually_exclusive_group(required=True)
    trains.add_argument("--msd", type=Path, help="folder Task03_Liver of the Medical Segmentation Decathlon")
    trains.add_argument("--lits", type=Path, help="folder with volume-N.nii and segmentation-N.nii of LiTS")
    parser.add_argument(
        "--chaos", type=Path, help="folder with Train_Sets of CHAOS: lists test_hu (CT) and ood_test (MRI)"
    )
    parser.add_argument("--output", type=Path, required=True, help="the datalist, a JSON file")
    options = parser.parse_args(arguments)
    output = options.output.parent.resolve()
    try:
        read, source = (read_msd, options.msd) if options.msd else (read_lits, options.lits)
        lists = split(list(read(source, output)))
        if options.chaos:
            lists["test_hu"] = list(read_chaos(options.chaos, "ct", output))
            lists["ood_test"] = list(read_chaos(options.chaos, "mri", output))
            if not lists["test_hu"] and not lists["ood_test"]:
                raise ValueError(f"{options.chaos} holds no {' and no '.join(CHAOS_FOLDERS.values())} with masks")
    except (OSError, ValueError, KeyError, nib.filebasedimages.ImageFileError) as error:
        parser.error(str(error))
    located_lists = {name: [located(item, output) for item in items] for name, items in lists.items() if items}
    options.output.write_text(json.dumps(located_lists, indent=1) + "\n", encoding="utf-8")
    print(f"{options.output}: {', '.join(f'{name} {len(items)}' for name, items in located_lists.items())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
