# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Few labelled CT volumes, on CT of several hospitals and on MRI (the paper's table 3).

``python configs/liver_table.py --config configs/liver_table.yaml``

The lists of several datalists are gathered in one, with binary labels; then runs what ``semgan table`` does. What is
finished is skipped when the command runs again. Dice of each patient is in the ``report.csv`` of each evaluation.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.bundle import ConfigParser

from monai_semgan.apps.label_budget import table
from monai_semgan.bundle import Bundle


def gather(sources: Sequence[Mapping[str, Any]], root: Path, output: Path) -> Path:
    """Gather the lists of several datalists in one.

    Args:
        sources: of each datalist its "datalist", a path from ``root``; "prefix", before the names of its lists; "item",
            what each of its items is given; and "label", the value of the organ in its labels, None for all above 0.
        root: folder that all paths start from.
        output: folder for ``datalist.json`` and ``labels/``.

    Returns:
        The new datalist; its paths are absolute.

    Raises:
        FileNotFoundError: when a datalist does not exist.
        ValueError: when two lists have one name.
    """
    lists: dict[str, list[dict[str, Any]]] = {}
    for source in sources:
        path = root / source["datalist"]
        if not path.is_file():
            raise FileNotFoundError(f"datalist {path} does not exist: set SEMGAN_DATA or give --root")
        for key, items in json.loads(path.read_text(encoding="utf-8")).items():
            if not isinstance(items, list):
                continue
            name = source["prefix"] + key
            if name in lists:
                raise ValueError(f"two lists are called {name}: give the sources another prefix in the config")
            lists[name] = []
            for item in items:
                # what an item says of itself counts
                entry = {**source["item"], **item, "image": str((root / item["image"]).resolve())}
                if "label" in item:
                    label = root / item["label"]
                    entry["label"] = str(
                        (label if source["label"] is None else binary(label, source, output)).resolve()
                    )
                lists[name].append(entry)
    output.mkdir(parents=True, exist_ok=True)
    datalist = output / "datalist.json"
    datalist.write_text(json.dumps(lists, indent=1) + "\n", encoding="utf-8")
    return datalist


def binary(label: Path, source: Mapping[str, Any], output: Path) -> Path:
    """Write one organ of a NIfTI label as a label of its own, once."""
    path = output / "labels" / (source["prefix"] + label.name)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        volume = nib.load(label)
        organ = (np.asanyarray(volume.dataobj) == source["label"]).astype(np.uint8)
        partial = path.with_name("partial_" + path.name)
        nib.save(nib.Nifti1Image(organ, volume.affine), partial)
        os.replace(partial, path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, 0 when all is finished."""
    parser = argparse.ArgumentParser(prog="python configs/liver_table.py", description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="the experiment")
    parser.add_argument("--root", type=Path, help="folder of the datalists; None: what the experiment says")
    parser.add_argument("--output", type=Path, help="folder for checkpoints and the table; None: what it says")
    options = parser.parse_args(arguments)
    try:
        if not options.config.is_file():
            raise FileNotFoundError(f"{options.config} does not exist: --config must name an experiment")
        bundle = Bundle(ConfigParser.load_config_file(options.config)["bundle"])
        config = bundle.parser(options.config.resolve())
        root = options.root or Path(config.get_parsed_content("dataset_dir"))
        output = options.output or Path(config.get_parsed_content("output_dir"))
        gather(config["sources"], root, output)
        return table(bundle, str(options.config.resolve()), str(root), str(output))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
