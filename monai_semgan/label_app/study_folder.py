# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The folder of studies and labels."""

from __future__ import annotations

import functools
import json
import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader, MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException

from monai_semgan.data import failure_reason
from monai_semgan.formats import FormatReader, suffixes
from monai_semgan.label_app.names import check_image_file, check_name, check_tag
from monai_semgan.label_app.refusal import BadRequest
from monai_semgan.transforms import LabelMapd, SameGridd, ToGreyd

logger = logging.getLogger(__name__)

# the folder is searched by these, which are case-sensitive
PATTERNS = [f"*{case}" for suffix in sorted({*suffixes(2), *suffixes(3)}) for case in (suffix, suffix.upper())]
# what changes the lists of images and labels, or goes through them
SERIAL = (
    *("add_image", "remove_image", "store", "remove_label", "update_image_info", "update_label_info", "datalist"),
    *("get_labeled_images", "get_unlabeled_images", "list_images", "status", "json", "_reconcile_datastore"),
    *("_init_from_datastore_file", "get_dataset_archive"),
)


def serial(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let one thread at a time into methods of a datastore."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return method(self, *args, **kwargs)

    return call


def serially(kind: type) -> type:
    """Let one thread at a time into all methods of :data:`SERIAL` of a datastore (a class decorator)."""
    for name in SERIAL:
        if hasattr(kind, name):
            setattr(kind, name, serial(getattr(kind, name)))
    return kind


@serially
class StudyFolder(LocalDatastore):
    """A ``LocalDatastore`` of all files that the bundles read, which takes labels that lie on their image only.

    Requests are answered side by side: one thread at a time is in the lists. What is written is written beside its
    place and then renamed, so that a full disk or a killed server leaves what was there.

    Args:
        path: the folder; labels go to the folder labels in it.
        classes: names of the classes of the bundle that has most of them; labels hold their indices, or, where none
            has several classes, 0 and one other value.
        kwargs: as ``LocalDatastore`` has them.
    """

    def __init__(self, path: str, *, classes: Sequence[str] = ("foreground",), **kwargs: Any) -> None:
        self.classes = list(classes)
        self.lock = threading.RLock()
        # why images cannot be read, by id, with the time of their file
        self.unreadable: dict[str, tuple[int, str]] = {}
        super().__init__(path, extensions=PATTERNS, **kwargs)
        if self._auto_reload:
            # copies of many programs are written beside and renamed
            self._handler.on_moved = self._on_moved

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add an image; see ``LocalDatastore``.

        Raises:
            BadRequest: when its name is none, it cannot be read, or there is one of this name.
        """
        check_image_file(image_filename)
        name, ending = self._to_id(os.path.basename(image_filename))
        image_id = image_id or name
        check_name("image", image_id)
        if image_id in self._datastore.objects:
            raise BadRequest(f"there is an image {image_id!r} already: delete it first, or choose another name", 409)
        try:
            reader_of(image_filename)
        except (ValueError, OSError) as error:
            raise BadRequest(f"the image is refused: {failure_reason(error)}", 422) from error
        info = {**(image_info or {}), "ts": int(time.time()), "name": image_id + ending}
        with replacing(Path(self._datastore.image_path(), image_id + ending)) as partial:
            shutil.copyfile(image_filename, partial)
            self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=ending))
            with self.undone(lambda: self._datastore.objects.pop(image_id)):
                self._update_datastore_file()
        return image_id

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Save a label; see ``LocalDatastore``.

        Raises:
            ImageNotFoundException: when there is no such image.
            BadRequest: when the label cannot be read, is not on its image's grid, holds other values than those of the
                classes, or is a final one and empty.
        """
        check_tag(label_tag)
        image = self.get_image_uri(image_id)
        if not image:
            raise ImageNotFoundException(f"Image {image_id} not found")
        mask = check_label(image, label_filename, self.classes)
        if label_tag == "final":
            check_marked(mask)
        return self.store(image_id, label_filename, label_tag, label_info)

    def store(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Put a label that was checked in its place; what was there goes when it is whole."""
        labels = self._datastore.objects[image_id].labels
        old = labels.get(label_tag)
        _, ending = self._to_id(os.path.basename(label_filename))
        folder = Path(self._datastore.label_path(label_tag))
        folder.mkdir(parents=True, exist_ok=True)
        info = {**(label_info or {}), "ts": int(time.time()), "name": image_id + ending}

        def undo() -> None:
            labels.pop(label_tag) if old is None else labels.update({label_tag: old})

        with replacing(folder / (image_id + ending)) as partial:
            shutil.copyfile(label_filename, partial)
            labels[label_tag] = DataModel(info=info, ext=ending)
            with self.undone(undo):
                self._update_datastore_file()
        if old is not None and old.ext != ending:
            (folder / (image_id + old.ext)).unlink(missing_ok=True)
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Remove an image and its labels; see ``LocalDatastore``."""
        super().remove_image(image_id)
        # a watcher comes later than the next request
        self.refresh()

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label; see ``LocalDatastore``.

        Raises:
            LabelNotFoundException: when there is none.
        """
        check_tag(label_tag)
        if not self._datastore.label(label_id, label_tag):
            raise LabelNotFoundException(f"Label: {label_id} Tag: {label_tag} not found")
        super().remove_label(label_id, label_tag)
        self.refresh()

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Make a ZIP file of images and labels; see ``LocalDatastore``.

        Raises:
            LabelNotFoundException: when there are no labels.
        """
        if not self.get_labeled_images():
            raise LabelNotFoundException("no image has a label with the tag final")
        return str(super().get_dataset_archive(limit_cases))

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Give the images without label, but for those that were found to be unreadable."""
        return [image for image in super().get_unlabeled_images(label_tag, labels) if not self.left_out(image)]

    def status(self) -> dict[str, Any]:
        """Count images and labels, and tell which images cannot be read and why."""
        told = {image: words for image, (_, words) in self.unreadable.items() if self.left_out(image)}
        return {**super().status(), "unreadable": told}

    def left_out(self, image_id: str) -> bool:
        """Whether an image was found to be unreadable, and is the same file still."""
        return image_id in self.unreadable and self.unreadable[image_id][0] == self.modified(image_id)

    def modified(self, image_id: str) -> int:
        """When an image's file was changed, in nanoseconds; -1 without one."""
        file = Path(self.get_image_uri(image_id) or "nowhere")
        return file.stat().st_mtime_ns if file.exists() else -1

    def is_readable(self, image_id: str) -> bool:
        """Read an image; one that cannot be read is left out from now on, with a warning."""
        try:
            reader_of(self.get_image_uri(image_id))
        except (ValueError, OSError, RuntimeError) as error:
            words = failure_reason(error)
            logger.warning("%s is left out: %s", image_id, words)
            self.unreadable[image_id] = self.modified(image_id), words
            return False
        return True

    def _on_moved(self, event: Any) -> None:
        """Look for images and labels after a file was renamed, unless it is the file of the lists."""
        if event.dest_path != self._datastore_config_path:
            self.refresh()

    @contextmanager
    def undone(self, undo: Callable[[], Any]) -> Iterator[None]:
        """Take back what was changed in memory where the file of the lists cannot be written."""
        try:
            yield
        except BaseException:
            undo()
            raise

    def _update_datastore_file(self, lock: bool = True) -> None:
        """Write the file of the lists in one piece."""
        content = json.dumps(self._datastore.model_dump(exclude={"base_path"}), indent=2, default=str)
        path = Path(self._datastore_config_path)
        with replacing(path) as partial:
            partial.write_text(content, encoding="utf-8")
        self._config_ts = path.stat().st_mtime


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file beside another to write to, which takes its place when all went well, and else is removed."""
    partial = path.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def check_label(image: str, label: str, classes: Sequence[str]) -> MetaTensor:
    """Refuse a label that does not lie on its image, or holds other values than its classes.

    Args:
        image: file or folder.
        label: file.
        classes: names of the classes, that of the value 1 first; of one class 0 and any other value.

    Returns:
        The label's class indices ``(1, ...)`` on the image's grid, with the image's metadata.

    Raises:
        BadRequest: with what is wrong.
    """
    keys = ["image", "label"]
    try:
        reader: Any = reader_of(image)
        check = Compose(
            [
                LoadImaged(keys, reader=reader),
                EnsureChannelFirstd(keys),
                SameGridd("label"),
                ToGreyd("label"),
                LabelMapd("label", classes),
            ]
        )
        found = check({"image": image, "label": label})
    except Exception as error:
        raise BadRequest(f"the label is refused: {failure_reason(error)}", 422) from error
    return MetaTensor(found["label"].as_tensor(), meta=found["image"].meta)


def check_marked(mask: MetaTensor) -> None:
    """Refuse a label in which nothing is marked.

    Raises:
        BadRequest: when it is empty.
    """
    if not np.asarray(mask).any():
        raise BadRequest(
            "the label is refused: nothing is marked in it, as final it would teach that there is nothing", 422
        )


def reader_of(image: str) -> ImageReader:
    """The reader of an image or a volume, which has read it.

    Raises:
        ValueError: when it is neither.
    """
    reasons = []
    for dims in (2, 3):
        reader = FormatReader(dims, label=True)
        try:
            reader.get_data(reader.read(image))
        except (ValueError, FileNotFoundError) as error:
            reasons.append(error)
        else:
            return reader
    # of a picture the first, of a volume the second says what is wrong
    raise next((error for error in reasons if "is neither" not in str(error)), reasons[-1])
