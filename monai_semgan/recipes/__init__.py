# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The configs that all bundles share, of which each bundle holds copies, so that its folder works by itself.

``python -m monai_semgan.recipes bundles/*`` brings the copies up to date.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from monai_semgan.bundle import Bundle

FOLDER = Path(__file__).parent


def copies(bundle: Bundle) -> dict[str, Path]:
    """The files that a bundle holds copies of, by their names in its configs folder."""
    kind = {2: "planar", 3: "volumetric"}[bundle.spatial_dims]
    shared = {path.name: path for path in FOLDER.iterdir() if path.suffix in (".yaml", ".conf")}
    files = {name: path for name, path in shared.items() if not name.startswith("labels_")}
    return files | {"labels.yaml": FOLDER / f"labels_{kind}.yaml"}


def differing(bundle: Bundle) -> list[str]:
    """Names of a bundle's copies that are missing or no longer what the package has."""
    folder = bundle.root / "configs"
    return [
        name
        for name, path in copies(bundle).items()
        if not (own := folder / name).is_file() or own.is_symlink() or own.read_bytes() != path.read_bytes()
    ]


def update(bundle: Bundle) -> list[str]:
    """Copy what differs into a bundle; returns the names."""
    names, shared = differing(bundle), copies(bundle)
    for name in names:
        target = bundle.root / "configs" / name
        target.unlink(missing_ok=True)
        shutil.copyfile(shared[name], target)
    return names


def main(folders: list[str | os.PathLike[str]]) -> None:
    """Bring the copies of bundles up to date, and tell which were not."""
    for folder in folders:
        bundle = Bundle(folder)
        print(f"{bundle.name}: {', '.join(update(bundle)) or 'up to date'}")
