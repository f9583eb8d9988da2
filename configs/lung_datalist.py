# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The datalist that the shipped lung weights are trained with, from those of adults and of children.

``python configs/lung_datalist.py --adults adults.json --children datalist.json --output lungs.json``, all in one folder

Labelled are adults alone, whose lungs are outlined without the heart; the images of both are learned without labels.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# every labelled list of Montgomery County that is no test list
TRAIN = ("montgomery_80", "montgomery_val")


def merge(adults: dict[str, Any], children: dict[str, Any]) -> dict[str, Any]:
    """Put the datalists together.

    Args:
        adults: lists of adults, of which :data:`TRAIN` are labelled, and "unlabeled".
        children: "unlabeled" of another datalist with paths from the same folder; its labels are of another convention.

    Returns:
        The adults' lists, "train" of the labelled ones, and "unlabeled" of both, each image once.

    Raises:
        ValueError: when a list is missing.
    """
    for name, datalist, keys in (("adults", adults, (*TRAIN, "unlabeled")), ("children", children, ("unlabeled",))):
        if missing := set(keys) - set(datalist):
            raise ValueError(f"the datalist of {name} lacks {sorted(missing)}, it has {sorted(datalist)}")
    images = dict.fromkeys(item["image"] for part in (children, adults) for item in part["unlabeled"])
    return adults | {
        "train": [item for name in TRAIN for item in adults[name]],
        "unlabeled": [{"image": image} for image in images],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the datalist; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("adults", "children", "output"):
        parser.add_argument(f"--{name}", required=True, type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        parts = [json.loads(path.read_text(encoding="utf-8")) for path in (options.adults, options.children)]
        merged = merge(*parts)
        options.output.write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {len(merged['train'])} pairs, {len(merged['unlabeled'])} images without labels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
