# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""How well the generator redraws each slice: where it does not, its label map is not to be trusted."""

from __future__ import annotations

import csv
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.config import KeysCollection, PathLike
from monai.transforms import SaveImaged
from monai.utils import convert_to_tensor


class SaveSliceErrorsd(SaveImaged):
    r"""Write the reconstruction error of each slice, :math:`\sqrt{\mathrm{mean}((x - G_x(w^+))^2)}`, as a CSV file.

    Slices are counted from 1, at the feet. The file is ``{output_dir}/{item[name_key]}{postfix}.csv``; the errors are
    put into the item as "slice_errors". (A ``SaveImaged``, so that MONAI Label, which writes by itself, knows to leave
    it out.)

    Args:
        keys: key of the reconstruction ``(C, row, column, slice)`` in [-1, 1].
        output_dir: folder to write to.
        image_key: key of the network's input of the same shape.
        name_key: key of the item that holds the file's name without suffix; may contain folders.
        postfix: ending of the name.
        allow_missing_keys: pass over keys that an item does not have.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: PathLike,
        image_key: str = "image",
        name_key: str = "name",
        postfix: str = "_slices",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, output_dir=str(output_dir), allow_missing_keys=allow_missing_keys)
        self.output_dir = Path(output_dir)
        self.image_key = image_key
        self.name_key = name_key
        self.postfix = postfix

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            image, drawn = (convert_to_tensor(d[k], track_meta=False).float() for k in (self.image_key, key))
            errors = (drawn - image).square().mean((0, 1, 2)).sqrt().tolist()
            file = self.output_dir / f"{d[self.name_key]}{self.postfix}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("w", newline="", encoding="utf-8") as opened:
                writer = csv.writer(opened)
                writer.writerow(("slice", "reconstruction_error"))
                writer.writerows((number, round(error, 6)) for number, error in enumerate(errors, 1))
            d["slice_errors"] = errors
        return d
