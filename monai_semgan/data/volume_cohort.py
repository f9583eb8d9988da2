# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The volumes of a run: those in a folder, one file, or a list in a datalist.json."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from monai.config import PathLike

from monai_semgan.data.cohort import cohort, relative
from monai_semgan.data.dicom_series import find_series, series_name
from monai_semgan.data.formats import DICOM, VOLUME_SUFFIXES, stem
from monai_semgan.data.volume_reader import volume_format


def volume_cohort(
    dataset_dir: PathLike | None,
    *,
    datalist: PathLike | None = None,
    list_key: str = "test",
    exclude: Sequence[PathLike] = (),
    labels: bool = False,
) -> list[dict[str, Any]]:
    """List the volumes of a run, as :func:`monai_semgan.data.cohort` lists images.

    Each DICOM series is a volume. It is given as its folder, or, where that holds several, as its first file and with
    its number and description in the name. Localizers, segmentations and screenshots are passed over.

    Args:
        dataset_dir: a folder, searched with all folders in it, or one file. With a datalist: the folder its paths
            start from, by default the datalist's own.
        datalist: JSON file of MONAI's (Decathlon) form, a list of items under each key. Items may name a "patient".
        list_key: the list to use.
        exclude: folders not to search, so that results of an earlier run are not taken for volumes.
        labels: whether every item has to have a label.

    Returns:
        One item a volume: "image", "file" and "name", as :func:`monai_semgan.data.cohort` gives them.

    Raises:
        FileNotFoundError: when a folder, file or datalist is missing, or no volume is found.
        ValueError: when the datalist is missing or lacks what is asked for.
    """
    if datalist is not None or dataset_dir is None or labels:
        return cohort(dataset_dir, datalist=datalist, list_key=list_key, exclude=exclude, labels=labels)
    root = Path(dataset_dir)
    if root.is_file():
        return [{"image": str(root), "file": root.name, "name": stem(root)}]
    if not root.is_dir():
        raise FileNotFoundError(f"{root} does not exist: name a folder of volumes or one volume")
    volumes = sorted(find_volumes(root, {Path(folder).resolve() for folder in exclude}))
    if not volumes:
        raise FileNotFoundError(f"no volumes in {root}: looked for {', '.join(VOLUME_SUFFIXES)} and DICOM series")
    paths = [path for path, _ in volumes]
    return [
        {"image": str(path), "file": relative(path, root).as_posix(), "name": name}
        for path, name in zip(paths, numbered([name for _, name in volumes]), strict=True)
    ]


def find_volumes(root: Path, skip: set[Path]) -> Iterator[tuple[Path, str]]:
    """Find volumes in a folder and all folders in it but those to skip; give the path of each and a name."""
    for top, folders, names in os.walk(root):
        folder = Path(top)
        folders[:] = [name for name in folders if not name.startswith(".") and (folder / name).resolve() not in skip]
        slices = []
        for file in sorted(folder / name for name in names):
            if file.name.startswith(".") or file.name.upper() == "DICOMDIR" or not file.is_file():
                continue
            kind = volume_format(file)
            if kind == DICOM:
                slices.append(file)
            elif kind is not None:
                yield file, (relative(folder, root) / stem(file)).as_posix()
        yield from find_dicom_volumes(slices, root)


def find_dicom_volumes(files: list[Path], root: Path) -> Iterator[tuple[Path, str]]:
    """Give path and name of each series of a folder's DICOM files, and of those that cannot be read."""
    series, damaged = find_series(files)
    for slices in series.values():
        file, header = slices[0]
        folder = relative(file.parent, root)
        alone = len(series) == 1
        name = Path(root.resolve().name) if folder == Path() and alone else folder
        if not alone:
            name /= re.sub(r"[^\w.+-]+", "_", series_name(header))
        yield (file.parent if alone else file), name.as_posix()
    for file in damaged:
        yield file, (relative(file.parent, root) / stem(file)).as_posix()


def numbered(names: list[str]) -> list[str]:
    """Append a number to names that were there before; names are told apart without case, as some file systems do."""
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 2
        while candidate.lower() in taken:
            candidate, number = f"{name}_{number}", number + 1
        taken.add(candidate.lower())
        unique.append(candidate)
    return unique
