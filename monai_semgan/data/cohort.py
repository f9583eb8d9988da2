# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The images of a run: of a folder, one file, or a list in a datalist.json; and what is kept of those that fail."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import PathLike
from monai.data import Dataset, load_decathlon_datalist
from monai.utils import ensure_tuple

from monai_semgan.formats.registry import Format, Found, format_of, place_of, stem, suffix, suffixes, text_of

logger = logging.getLogger(__name__)

# key of an item that failed, its value is the reason; and of one that is no image and was not meant to be done
FAILURE = "failure"
SKIPPED = "skipped"
# how the reports of a run begin: these folders beside one are results
REPORT_COLUMNS = ("file", "status", "message", "mask", "overlay")
RESULTS = ("masks", "overlays", "thumbnails")
LONGEST = 300
# bytes of a name; file systems take 255 with what is appended
LONGEST_NAME = 200


def cohort(
    dataset_dir: PathLike | None,
    *,
    datalist: PathLike | None = None,
    list_key: str = "test",
    exclude: Sequence[PathLike] = (),
    labels: bool = False,
    spatial_dims: int = 2,
    skipped: bool = False,
) -> list[dict[str, Any]]:
    """List the images of a run.

    Each DICOM series is a volume. It is given as its folder, or, where that holds several, as its first file and with
    its number and description in the name; as the list of its files where they lie in several folders. Localizers,
    segmentations, screenshots, reports and other objects of DICOM that are no image are passed over.

    Args:
        dataset_dir: a folder, searched with all folders in it, or one file. With a datalist: the folder its paths
            start from, by default the datalist's own.
        datalist: JSON file of MONAI's (Decathlon) form, a list of items under each key. Items may name a "patient".
        list_key: the list to use.
        exclude: folders not to search, so that results of an earlier run are not taken for images.
        labels: whether every item has to have a label.
        spatial_dims: 2 for images, 3 for volumes.
        skipped: whether to list what is passed over as well, so that a report can tell of it: with "failure", the
            reason, and "skipped".

    Returns:
        One item an image: "image" (path), "file" (path as reported, its own in the run), "name" (without suffix, unique
        in the run, for results; starts with the image's stem), and the datalist's own keys; "failure" where it is known
        already that it cannot be read. None without folder and datalist, so that a bundle can be looked at without
        data. "file" and "name" are text also where bytes of a file's name are no UTF-8.

    Raises:
        FileNotFoundError: when a folder, file or datalist is missing, or no image is found.
        ValueError: when the datalist is missing or lacks what is asked for.
    """
    # MONAI's command line makes a number of a name like 20240101
    root = None if dataset_dir is None else Path(str(dataset_dir))
    if datalist is not None:
        datalist = Path(str(datalist))
        items = read_datalist(datalist, str(list_key), root)
        root = root or datalist.parent
        named = [Found(Path(item["image"]), below(Path(item["image"]), root)) for item in items]
    elif root is None:
        return []
    elif labels:
        raise ValueError("no datalist given, and labels are needed: name a JSON file with image and label pairs")
    else:
        named = [found for found in find_images(root, spatial_dims, exclude=exclude) if skipped or not found.skipped]
        items = [item_of(found) for found in named]
        root = root if root.is_dir() else root.parent
    without = [item["image"] for item in items if not item.get("label")]
    if labels and without:
        raise ValueError(f"{len(without)} of {len(items)} items of list {list_key!r} have no label, as {without[0]}")
    files = unique_files([found.path for found in named], root)
    names = unique_names([shortened(text_of(found.name)) for found in named], [ending(*found[:2]) for found in named])
    return [{**item, "file": file, "name": name} for item, file, name in zip(items, files, names, strict=True)]


def read_datalist(datalist: Path, list_key: str, base_dir: Path | None) -> list[dict[str, Any]]:
    """Read one list of a datalist, paths made absolute or relative to ``base_dir``."""
    if not datalist.is_file():
        raise FileNotFoundError(f"datalist {datalist} does not exist")
    if base_dir is not None and not base_dir.is_dir():
        raise FileNotFoundError(f"folder {base_dir}, which the datalist's paths start from, does not exist")
    try:
        content = json.loads(datalist.read_text())
        lists = [key for key, value in content.items() if isinstance(value, list)]
        if list_key not in content:
            raise ValueError(f"Data list {list_key} not specified, there are {', '.join(lists) or 'none'}")
        items = load_decathlon_datalist(datalist, data_list_key=list_key, base_dir=base_dir)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"datalist {datalist} cannot be used: {error}") from error
    if not items or not all(isinstance(item, dict) and isinstance(item.get("image"), str) for item in items):
        raise ValueError(f"list {list_key!r} of {datalist} is not a list of items with one image file each")
    return items


def item_of(found: Found) -> dict[str, Any]:
    """The item of what a folder holds."""
    item: dict[str, Any] = {"image": [str(file) for file in found.files] or str(found.path)}
    if reason := found.failure or found.skipped:
        item[FAILURE] = reason
    return {**item, SKIPPED: True} if found.skipped else item


def find_images(root: Path, spatial_dims: int = 2, *, exclude: Sequence[PathLike] = ()) -> list[Found]:
    """Find the images in a folder and all below it, as formats gather them, in the order of names.

    One file is taken whatever it is. Hidden files, DICOMDIR, and masks and overlays beside the report of an earlier run
    are passed over. A file or folder that cannot be opened, and a link to a file that is gone, is an image, so that it
    is reported.

    Raises:
        FileNotFoundError: when the folder is missing or holds no image.
    """
    if root.is_file():
        return [Found(root, stem(root))]
    kind = "images" if spatial_dims == 2 else "volumes"
    if not root.is_dir():
        raise FileNotFoundError(f"{root} does not exist: name a folder of {kind} or one of them")
    skip = {Path(str(folder)).resolve() for folder in exclude}
    others: list[Path] = []
    found = sorted(walk(root, spatial_dims, skip, others))
    if others:
        logger.info("%d files are not %s and are left alone, such as %s", len(others), kind, text_of(min(others).name))
    passed = [one.skipped for one in found if one.skipped]
    for reason in passed:
        logger.info("%s", reason)
    if len(passed) == len(found):
        dicom = "DICOM files without suffix" if spatial_dims == 2 else "DICOM series"
        told = f"; {passed[0]}" if passed else ""
        raise FileNotFoundError(
            f"no {kind} in {root}: looked for {', '.join(suffixes(spatial_dims))} and {dicom}{told}"
        )
    return found


def walk(root: Path, spatial_dims: int, skip: set[Path], others: list[Path]) -> Iterator[Found]:
    """Give the images in a folder and all folders in it, and what cannot be opened; what is none goes to ``others``."""
    by_format: dict[Format, list[Path]] = defaultdict(list)
    locked: list[OSError] = []
    whole, linked = root.resolve(), set(skip)
    for top, folders, names in os.walk(root, onerror=locked.append, followlinks=True):
        folder = Path(top)
        reports = (folder / name for name in names if name.startswith("report") and name.endswith(".csv"))
        results = RESULTS if any(is_report(report) for report in reports) else ()
        folders[:] = [name for name in sorted(folders) if not name.startswith(".") and name not in results]
        for name in list(folders):
            target = (folder / name).resolve()
            is_link = (folder / name).is_symlink()
            # what a link leads to within the folder is found there, and all else once
            if target in linked or (is_link and (target.is_relative_to(whole) or whole.is_relative_to(target))):
                folders.remove(name)
            elif is_link:
                linked.add(target)
        for file in sorted(folder / name for name in names):
            if file.name.startswith(".") or file.name.upper() == "DICOMDIR":
                continue
            if file.is_symlink() and not file.exists():
                gone = f"{text_of(file.name)} is a link to {text_of(os.readlink(file))}, which is missing"
                yield Found(file, place_of(file, root), failure=gone)
                continue
            if not file.is_file():
                continue
            try:
                kind = format_of(file, spatial_dims)
            except OSError:
                yield Found(file, place_of(file, root))
                continue
            if kind is None:
                others.append(file)
            else:
                by_format[kind].append(file)
    for error in locked:
        folder = Path(str(error.filename))
        reason = (
            f"folder {text_of(folder.name)} cannot be searched ({error.strerror}): give this user the right to read it"
        )
        yield Found(folder, folder.relative_to(root).as_posix(), failure=reason)
    for kind, files in by_format.items():
        yield from kind.gather(files, root)


def is_report(file: Path) -> bool:
    """Tell the report of a run by its first columns."""
    try:
        with file.open(encoding="utf-8", errors="replace") as text:
            return tuple(text.readline().strip().split(",")[: len(REPORT_COLUMNS)]) == REPORT_COLUMNS
    except OSError:
        return False


def relative(path: Path, root: Path) -> Path | None:
    """Give a path relative to a folder, None when it lies elsewhere."""
    try:
        return path.absolute().relative_to(root.absolute())
    except ValueError:
        return None


def below(path: Path, root: Path) -> str:
    """Name an image after its place in a folder, or by its bare name when it lies elsewhere, without suffix."""
    file = relative(path, root) or Path(path.name)
    return (file.parent / stem(file)).as_posix()


def ending(path: Path, name: str) -> str:
    """Give what is appended to a name that several images have: a file's suffix; nothing for DICOM series."""
    if path.is_dir() or Path(name).name != stem(path):
        return ""
    return suffix(path)[1:].replace(".", "_") or "file"


def unique_files(paths: Sequence[Path], root: Path) -> list[str]:
    """Tell images by their place in a folder; those elsewhere by their bare name, or whole if it is not unique."""
    places = [relative(path, root) for path in paths]
    plain = [(place or Path(path.name)).as_posix() for path, place in zip(paths, places)]
    count = Counter(plain)
    files = [
        file if place is not None or count[file] == 1 else path.absolute().as_posix()
        for path, place, file in zip(paths, places, plain)
    ]
    # two names may be one as text, where the bytes of one are no UTF-8
    count = Counter(text_of(file) for file in files)
    return [text_of(file) if count[text_of(file)] == 1 else ascii(file)[1:-1] for file in files]


def shortened(name: str) -> str:
    """Cut the last part of a long name, which has to leave room for what is appended for results."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.encode()[:LONGEST_NAME].decode(errors="ignore")


def unique_names(names: Sequence[str], endings: Sequence[str]) -> list[str]:
    """Name results after their images, folders included.

    Images of one folder that differ in suffix alone (a.png, a.dcm) get it, of ``endings``, as part of the name (a_png,
    a_dcm); whatever is still equal gets a number. Names are told apart without case, as some file systems do.
    """
    count = Counter(name.lower() for name in names)
    taken = {name for name, number in count.items() if number == 1}
    unique = []
    for name, end in zip(names, endings, strict=True):
        if count[name.lower()] > 1:
            first = name = f"{name}_{end}" if end else name
            number = 2
            while name.lower() in taken:
                name, number = f"{first}_{number}", number + 1
            taken.add(name.lower())
        unique.append(name)
    return unique


class CohortDataset(Dataset):
    """A ``Dataset`` whose items either went through the transform or say, under the key "failure", why they did not.

    Items differ in size and keys: load them with ``collate_fn=monai.data.utils.no_collation`` and give them to
    :meth:`monai_semgan.predictor.Predictor.predict`.

    Args:
        data: items, such as :func:`cohort` gives.
        transform: the preprocessing.
        finished: files of items that are left out, as "file" has them, such as those that an interrupted run did; with
            the state of each (see :func:`state_of`) where an item of the same name may be another image.
        rank: number of this process among those that share the items.
        world_size: number of those processes; this one takes every ``world_size``-th item.

    Raises:
        ValueError: for a rank that is not below ``world_size``.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Callable[..., Any] | None = None,
        *,
        finished: Collection[str] = (),
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}, it must lie between 0 and world_size - 1 = {world_size - 1}")
        # first shared out, then thinned: a process that is started again finds its own items
        own = list(data)[rank::world_size]
        super().__init__([item for item in own if not is_finished(item, finished)], transform)

    def _transform(self, index: int) -> Any:
        if FAILURE in self.data[index]:
            return dict(self.data[index])
        try:
            return super()._transform(index)
        except Exception as error:
            logger.debug("item %d failed", index, exc_info=True)
            return {**self.data[index], FAILURE: failure_reason(error)}


def state_of(item: Mapping[str, Any]) -> str:
    """Tell an item's image from others, and from itself when it has changed: its path, size and time of change."""
    path = Path(ensure_tuple(item["image"])[0]).absolute()
    parts = [text_of(path.as_posix())]
    if path.is_file():
        found = path.stat()
        parts += [str(found.st_size), str(found.st_mtime_ns)]
    return "|".join(parts)


def is_finished(item: Mapping[str, Any], finished: Collection[str]) -> bool:
    """Tell whether an item is among the finished ones and, where they have a state, the same image."""
    if item.get("file") not in finished:
        return False
    state = finished[item["file"]] if isinstance(finished, Mapping) else None
    return state is None or state == state_of(item)


def readable_items(data: Sequence[dict[str, Any]], transform: Callable[..., Any]) -> list[dict[str, Any]]:
    """Read items once, and leave out those that fail, each with a warning.

    Args:
        data: items with "image".
        transform: the preprocessing.

    Returns:
        What the transform makes of the others.
    """
    items = CohortDataset(data, transform)
    read = [items[index] for index in range(len(items))]
    for item in read:
        if FAILURE in item:
            logger.warning("left out: %s", item[FAILURE])
        for told in getattr(item.get("image"), "meta", {}).get("warnings", ()):
            logger.warning("%s: %s", item.get("file", item["image"].meta.get("filename_or_obj")), told)
    return [item for item in read if FAILURE not in item]


def failure_reason(error: BaseException) -> str:
    """Tell in one line why an image failed.

    Args:
        error: the exception; MONAI's "applying transform" wrappers are taken off.

    Returns:
        The message, with the kind of error in front unless the message was written for users.
    """
    while isinstance(error, RuntimeError) and str(error).startswith("applying transform") and error.__cause__:
        error = error.__cause__
    text = text_of(" ".join(str(error).split()))
    if not isinstance(error, (ValueError, FileNotFoundError)) or not text:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
