# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What samples of a generative model teach another network: from real pairs, samples, or both (the paper's table 6).

``python configs/factory_table.py --config configs/lung_xray_factory_table.yaml``

Trainings and evaluations are ``python -m monai.bundle run`` of their own, samples ``semgan synthesise``. What is
finished is skipped when the command runs again; samples go on where they were interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_semgan.apps.label_budget import (
    EVALUATION,
    UNET,
    UNET_EVALUATION,
    Stage,
    read_rows,
    run_all,
    write_tables,
)
from monai_semgan.apps.synthesise import DATALIST, LIST
from monai_semgan.bundle import Bundle

PATHS = ("dataset_dir", "datalist", "output_dir", "model")
LISTS = ("train_list", "image_lists", "rows", "lists", "scores")
SETTINGS = ("synthesise", "samples", "unet", "evaluate")
ROW = {"method", "samples", "real"}


@dataclass(frozen=True)
class Synthesis(Stage):
    """A stage whose command is ``semgan synthesise``; its settings are options, the bundle the one of "bundle"."""

    @property
    def command(self) -> list[str]:
        """The command line after ``python``."""
        words = ["-m", "monai_semgan", "synthesise", str(self.settings["bundle"]), str(self.folder)]
        for name, value in self.settings.items():
            if name != "bundle":
                words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
        return words


def load_config(path: Path, **override: str | None) -> dict[str, Any]:
    """Read an experiment and make its paths absolute.

    Args:
        path: YAML or JSON file.
        override: values instead of the file's; None keeps the file's.

    Returns:
        The parsed settings, with the bundle's folder as "bundle".

    Raises:
        FileNotFoundError: when something that it names does not exist.
        ValueError: when a list does not exist, or a row cannot be trained.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: --config must name an experiment")
    bundle = Bundle(ConfigParser.load_config_file(path)["bundle"])
    parser = bundle.parser(path.resolve(), **{name: value for name, value in override.items() if value is not None})
    config: dict[str, Any] = {name: str(Path(parser.get_parsed_content(name)).resolve()) for name in PATHS}
    hints = dict.fromkeys(("dataset_dir", "datalist"), ": set SEMGAN_DATA or give --root")
    hints["model"] = ": name the weights of a generative model with --model"
    for name in PATHS:
        if name != "output_dir" and not Path(config[name]).exists():
            raise FileNotFoundError(f"{name} {config[name]} does not exist{hints.get(name, '')}")
    config |= {name: parser.get_parsed_content(name) for name in (*LISTS, *SETTINGS)}
    lists = ConfigParser.load_config_file(config["datalist"])
    if missing := {config["train_list"], *config["image_lists"], *config["lists"]} - set(lists):
        raise ValueError(f"{config['datalist']} has no list {sorted(missing)}, it has {list(lists)}")
    check_rows(config["rows"], config["samples"])
    return config | {"bundle": str(bundle.root)}


def check_rows(rows: Sequence[dict[str, Any]], samples: dict[str, Any]) -> None:
    """Refuse rows that cannot be trained."""
    for row in rows:
        if set(row) != ROW:
            raise ValueError(f"rows has {row}, an entry has {', '.join(sorted(ROW))}")
        if row["samples"] is None and row["real"] != 1:
            raise ValueError(f"row {row['method']!r} has no samples and a share of {row['real']} real pairs: say 1")
        if row["samples"] is not None and (row["samples"] not in samples or not 0 <= row["real"] < 1):
            raise ValueError(
                f"row {row['method']!r} has samples {row['samples']!r} and a share of {row['real']} real pairs: name "
                f"one of {list(samples)} and a share from 0 to below 1"
            )
    if not rows or rows[0]["samples"] is not None:
        raise ValueError("the first of rows has to have no samples: its U-Net is the one that samples agree with")


def list_of(row: dict[str, Any], config: dict[str, Any]) -> str:
    """Name the list that a row is trained on."""
    return config["train_list"] if row["samples"] is None else f"{row['samples']}_{row['real']:g}"


def plan(config: dict[str, Any]) -> list[Stage]:
    """Lay out the experiment: the U-Net of real pairs, samples, the other U-Nets, and SemanticGAN itself.

    Args:
        config: as :func:`load_config` reads it.

    Returns:
        The stages in the order in which they run.
    """
    output = Path(config["output_dir"])
    real = {name: config[name] for name in ("datalist", "dataset_dir")}
    labels = len(ConfigParser.load_config_file(config["datalist"])[config["train_list"]])
    teacher = output / list_of(config["rows"][0], config) / "unet" / "model.pt"

    def evaluations(method: str, name: str, files: tuple[str, ...], weights: str | Path) -> list[Stage]:
        return [
            Stage(
                output / name / f"evaluation_{key}",
                files,
                {**real, "list_key": key, "ckpt_path": weights, **config["evaluate"]},
                {"labels": labels, "method": method, "list": key},
            )
            for key in config["lists"]
        ]

    stages: list[Stage] = []
    drawn: set[str] = set()
    for row in config["rows"]:
        name, samples = list_of(row, config), row["samples"]
        if samples is not None and samples not in drawn:
            drawn.add(samples)
            options = {"bundle": config["bundle"], "weights": config["model"], "teacher": teacher}
            options |= {"datalist": config["datalist"], "root": config["dataset_dir"], "list": config["image_lists"]}
            options |= {**config["synthesise"], **config["samples"][samples]}
            stages.append(Synthesis(output / "samples" / samples, (), options))
        data = real if samples is None else real | {"datalist": output / DATALIST}
        model = output / name / "unet" / "model.pt"
        stages.append(Stage(model.parent, UNET, {**data, "train_list": name, **config["unet"]}))
        stages += evaluations(row["method"], name, UNET_EVALUATION, model)
    return stages + evaluations("SemanticGAN, refined", "semantic_gan", EVALUATION, config["model"])


def write_datalist(config: dict[str, Any]) -> None:
    """Write the lists of all rows whose samples are there; in both, real pairs are repeated up to their share."""
    output = Path(config["output_dir"])
    real = ConfigParser.load_config_file(config["datalist"])[config["train_list"]]
    lists = {}
    for row in config["rows"]:
        if row["samples"] is None:
            continue
        folder = output / "samples" / row["samples"]
        if (folder / DATALIST).is_file():
            samples = ConfigParser.load_config_file(folder / DATALIST)[LIST]
            paths = ("image", "label")
            pairs = [item | {name: str(folder / item[name]) for name in paths} for item in samples]
            number = round(len(pairs) * row["real"] / (1 - row["real"]))
            lists[list_of(row, config)] = [*islice(cycle(real), number), *pairs]
    output.mkdir(parents=True, exist_ok=True)
    (output / DATALIST).write_text(json.dumps(lists, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left of an experiment and write its tables after every stage.

    Args:
        arguments: the command line; ``sys.argv`` by default.

    Returns:
        The exit code, 0 when all stages are finished.
    """
    parser = argparse.ArgumentParser(prog="python configs/factory_table.py", description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="the experiment, such as in configs/")
    parser.add_argument("--root", dest="dataset_dir", help="folder of the data, which the datalist's paths start from")
    parser.add_argument("--output", dest="output_dir", help="folder for samples, weights, results and the table")
    parser.add_argument("--model", help="weights of the generative model")
    options = vars(parser.parse_args(arguments))
    try:
        config = load_config(options.pop("config"), **options)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    stages, scores = plan(config), config["scores"]

    def after_stage() -> None:
        # the next training reads what was drawn
        write_datalist(config)
        write_tables(read_rows(stages, scores), scores, Path(config["output_dir"]))

    return run_all(stages, config, after_stage)


if __name__ == "__main__":
    sys.exit(main())
