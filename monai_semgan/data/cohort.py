# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The images of a run: those in a folder, one file, or a list in a datalist.json."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.config import PathLike
from monai.data import load_decathlon_datalist

from monai_semgan.data.formats import SUFFIXES, file_format, stem, suffix

logger = logging.getLogger(__name__)


def cohort(
    dataset_dir: PathLike | None,
    *,
    datalist: PathLike | None = None,
    list_key: str = "test",
    exclude: Sequence[PathLike] = (),
    labels: bool = False,
) -> list[dict[str, Any]]:
    """List the images of a run.

    Args:
        dataset_dir: a folder, searched with all folders in it, or one file. With a datalist: the folder its paths
            start from, by default the datalist's own.
        datalist: JSON file of MONAI's (Decathlon) form, a list of items under each key. Items may name a "patient".
        list_key: the list to use.
        exclude: folders not to search, so that results of an earlier run are not taken for images.
        labels: whether every item has to have a label.

    Returns:
        One item an image: "image" (path), "file" (path as reported), "name" (without suffix, unique in the run, for
        results; starts with the image's stem), and the datalist's own keys. None without folder and datalist, so that
        a bundle can be looked at without data.

    Raises:
        FileNotFoundError: when a folder, file or datalist is missing, or no image is found.
        ValueError: when the datalist is missing or lacks what is asked for.
    """
    if datalist is not None:
        items = read_datalist(datalist, list_key, dataset_dir)
        root = Path(dataset_dir) if dataset_dir else Path(datalist).parent
    elif dataset_dir is None:
        return []
    elif labels:
        raise ValueError("no datalist given, and labels are needed: name a JSON file with image and label pairs")
    else:
        root = Path(dataset_dir)
        items = [{"image": str(path)} for path in find_images(root, exclude=exclude)]
        root = root if root.is_dir() else root.parent
    without = [item["image"] for item in items if not item.get("label")]
    if labels and without:
        raise ValueError(f"{len(without)} of {len(items)} items of list {list_key!r} have no label, as {without[0]}")
    files = [relative(Path(item["image"]), root) for item in items]
    return [
        {**item, "file": file.as_posix(), "name": name}
        for item, file, name in zip(items, files, unique_names(files), strict=True)
    ]


def read_datalist(datalist: PathLike, list_key: str, base_dir: PathLike | None) -> list[dict[str, Any]]:
    """Read one list of a datalist, paths made absolute or relative to ``base_dir``."""
    if not Path(datalist).is_file():
        raise FileNotFoundError(f"datalist {datalist} does not exist")
    if base_dir is not None and not Path(base_dir).is_dir():
        raise FileNotFoundError(f"folder {base_dir}, which the datalist's paths start from, does not exist")
    try:
        items = load_decathlon_datalist(datalist, data_list_key=list_key, base_dir=base_dir)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"datalist {datalist} cannot be used: {error}") from error
    if not items or not all(isinstance(item, dict) and isinstance(item.get("image"), str) for item in items):
        raise ValueError(f"list {list_key!r} of {datalist} is not a list of items with one image file each")
    return items


def find_images(path: Path, *, exclude: Sequence[PathLike] = ()) -> list[Path]:
    """Find image files, in the order of their names.

    Args:
        path: a folder, searched with all folders in it, or one file, which is taken whatever it is.
        exclude: folders not to search.

    Returns:
        Files with a known suffix, and DICOM files whatever they are called. Hidden files and DICOMDIR are passed over.

    Raises:
        FileNotFoundError: when the folder is missing or holds no image.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist: name a folder of images or one image")
    found: list[Path] = []
    others: list[Path] = []
    skip = {Path(folder).resolve() for folder in exclude}
    for folder, folders, files in os.walk(path):
        folders[:] = [f for f in folders if not f.startswith(".") and (Path(folder) / f).resolve() not in skip]
        for name in files:
            file = Path(folder) / name
            if name.startswith(".") or name.upper() == "DICOMDIR" or not file.is_file():
                continue
            (found if is_image(file) else others).append(file)
    if others:
        logger.info("%d files are not images and are left alone, such as %s", len(others), min(others).name)
    if not found:
        raise FileNotFoundError(f"no images in {path}: looked for {', '.join(SUFFIXES)} and DICOM files without suffix")
    return sorted(found)


def is_image(file: Path) -> bool:
    """Tell an image by its name or its DICOM preamble; what cannot be opened counts, so that it is reported."""
    try:
        return file_format(file) is not None
    except OSError:
        return True


def relative(path: Path, root: Path) -> Path:
    """Give a path relative to a folder, or its bare name when it lies elsewhere."""
    try:
        return path.absolute().relative_to(root.absolute())
    except ValueError:
        return Path(path.name)


def unique_names(files: Sequence[Path]) -> list[str]:
    """Name results after their images, folders included.

    Images of one folder that differ in suffix alone (a.png, a.dcm) get it as part of the name (a_png, a_dcm); whatever
    is still equal gets a number. Names are told apart without case, as some file systems do.

    Args:
        files: relative paths.

    Returns:
        A name without suffix for each.
    """
    plain = [(file.parent / stem(file)).as_posix() for file in files]
    count = Counter(name.lower() for name in plain)
    taken = {name for name, number in count.items() if number == 1}
    names = []
    for file, name in zip(files, plain, strict=True):
        if count[name.lower()] > 1:
            first = name = f"{name}_{suffix(file)[1:].replace('.', '_') or 'file'}"
            number = 2
            while name.lower() in taken:
                name, number = f"{first}_{number}", number + 1
            taken.add(name.lower())
        names.append(name)
    return names
