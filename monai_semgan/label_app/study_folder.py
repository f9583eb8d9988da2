# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The folder of studies and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.data import ImageReader
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.exception import ImageNotFoundException

from monai_semgan.data import failure_reason
from monai_semgan.formats import FormatReader, suffixes
from monai_semgan.label_app.infer_task import BadRequest
from monai_semgan.transforms import LabelMapd, SameGridd, ToGreyd

# the folder is searched by these, which are case-sensitive
PATTERNS = [f"*{case}" for suffix in sorted({*suffixes(2), *suffixes(3)}) for case in (suffix, suffix.upper())]


class StudyFolder(LocalDatastore):
    """A ``LocalDatastore`` of all files that the bundles read, which takes labels that lie on their image only.

    Args:
        path: the folder; labels go to the folder labels in it.
        classes: names of the classes of the bundle that has most of them; labels hold their indices, or, where none
            has several classes, 0 and one other value.
        kwargs: as ``LocalDatastore`` has them.
    """

    def __init__(self, path: str, *, classes: Sequence[str] = ("foreground",), **kwargs: Any) -> None:
        self.classes = list(classes)
        super().__init__(path, extensions=PATTERNS, **kwargs)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Save a label; see ``LocalDatastore``.

        Raises:
            ImageNotFoundException: when there is no such image.
            BadRequest: when the label cannot be read, is not on its image's grid, or holds other values than
                those of the classes.
        """
        image = self.get_image_uri(image_id)
        if not image:
            raise ImageNotFoundException(f"Image {image_id} not found")
        check_label(image, label_filename, self.classes)
        return str(super().save_label(image_id, label_filename, label_tag, label_info))


def check_label(image: str, label: str, classes: Sequence[str]) -> None:
    """Refuse a label that does not lie on its image, or holds other values than its classes."""
    reader: Any = reader_of(image)
    keys = ["image", "label"]
    check = Compose(
        [
            LoadImaged(keys, reader=reader),
            EnsureChannelFirstd(keys),
            SameGridd("label"),
            ToGreyd("label"),
            LabelMapd("label", classes),
        ]
    )
    try:
        check({"image": image, "label": label})
    except Exception as error:
        raise BadRequest(f"the label is refused: {failure_reason(error)}", 422) from error


def reader_of(image: str) -> ImageReader:
    """The reader of an image or a volume."""
    planar = FormatReader(2, label=True)
    try:
        planar.get_data(planar.read(image))
    except ValueError:
        return FormatReader(3, label=True)
    return planar
