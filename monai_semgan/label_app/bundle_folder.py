# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A bundle's folder: its name, and its weights in all their versions."""

from __future__ import annotations

import re
from pathlib import Path

FIRST = "model.pt"
LATER = re.compile(r"model_v(\d+)\.pt")


def find_bundles(models: str) -> dict[str, Path]:
    """Read the app's setting ``models``.

    Args:
        models: paths of bundle folders, with commas between.

    Returns:
        Absolute paths by the folders' names.

    Raises:
        ValueError: when none is named, one is no bundle, or two have the same name.
    """
    paths = [Path(path.strip()).resolve() for path in models.split(",") if path.strip()]
    if not paths:
        raise ValueError("no models: name the folders of bundles")
    for path in paths:
        if not (path / "configs" / "inference.yaml").is_file():
            raise ValueError(f"model {path} is no bundle: it holds no configs/inference.yaml")
    bundles = {path.name: path for path in paths}
    if len(bundles) < len(paths):
        raise ValueError(f"models {models} has two folders of one name, which are told apart by it: rename one")
    return bundles


def versions(bundle: Path) -> list[str]:
    """File names of a bundle's weights, the newest first: what it came with, model.pt, is the first version."""
    found = {2: FIRST} if (bundle / "models" / FIRST).is_file() else {}
    later = {int(match[1]): file.name for file in bundle.glob("models/*.pt") if (match := LATER.fullmatch(file.name))}
    return [*(later[number] for number in sorted(later, reverse=True)), *found.values()]


def next_version(bundle: Path) -> str:
    """File name for the weights of the next fine-tuning."""
    numbers = [int(match[1]) for name in versions(bundle) if (match := LATER.fullmatch(name))]
    return f"model_v{max(numbers, default=1) + 1}.pt"


def no_weights(bundle: Path) -> str:
    """Tell how a bundle gets the weights that it lacks."""
    return (
        f"{bundle.name} has no weights: train them as docs/README.md in {bundle} says, or copy them to "
        f"{bundle / 'models' / FIRST}"
    )
