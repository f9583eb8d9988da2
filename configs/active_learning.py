# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What active learning gives: fine-tuning on images that the model understands least, and on random ones.

``python configs/active_learning.py --config configs/lung_xray_active_learning.yaml``

A simulated annotator answers from the true masks. Fine-tunings and evaluations are ``python -m monai.bundle run`` of
their own. What is finished is skipped when the command runs again.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from monai_semgan.apps.label_budget import EVALUATION, Stage, read_rows, run_all
from monai_semgan.bundle import Bundle
from monai_semgan.data import cohort
from monai_semgan.inferers import Uncertainty, WPlusUncertainty
from monai_semgan.inferers.wplus_uncertainty import mean_rank

START, CHOSEN, RANDOM = "before", "least understood", "random"
COLUMNS = ("images", "seed", "list", "n")
FINE_TUNE = ("configs/train_encoder.yaml", "configs/fine_tune.yaml")
PATHS = ("dataset_dir", "datalist", "output_dir", "model")
LISTS = ("known_list", "pool_list", "number", "seeds", "lists", "score")
SETTINGS = ("uncertainty", "spread_weight", "fine_tune", "evaluate")
LABELLED = "labelled"
BATCH = 16


def load_config(path: Path, **override: str | None) -> dict[str, Any]:
    """Read an experiment and make its paths absolute.

    Args:
        path: YAML or JSON file.
        override: values instead of the file's; None keeps the file's.

    Returns:
        The parsed settings, with the bundle's folder as "bundle".

    Raises:
        FileNotFoundError: when something that it names does not exist.
        ValueError: when a list does not exist, or the pool is too small.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: --config must name an experiment")
    bundle = Bundle(ConfigParser.load_config_file(path)["bundle"])
    parser = bundle.parser(path.resolve(), **{name: value for name, value in override.items() if value is not None})
    config: dict[str, Any] = {name: str(Path(parser.get_parsed_content(name)).resolve()) for name in PATHS}
    config["bundle"] = str(bundle.root)
    hints = dict.fromkeys(("dataset_dir", "datalist"), ": set SEMGAN_DATA or give --root")
    hints["model"] = f": {path} says how it is made; give another with --model"
    for name in PATHS:
        if name != "output_dir" and not Path(config[name]).exists():
            raise FileNotFoundError(f"{name} {config[name]} does not exist{hints.get(name, '')}")
    config |= {name: parser.get_parsed_content(name) for name in (*LISTS, *SETTINGS)}
    lists = ConfigParser.load_config_file(config["datalist"])
    if missing := {config["known_list"], config["pool_list"], *config["lists"]} - set(lists):
        raise ValueError(f"{config['datalist']} has no list {sorted(missing)}, it has {list(lists)}")
    size = len(pool(config, lists))
    if size < config["number"]:
        without = f"{config['pool_list']} without {config['known_list']}"
        raise ValueError(f"{without} has {size} items, fewer than the {config['number']} of number")
    return config


def pool(config: dict[str, Any], lists: dict[str, Any]) -> list[dict[str, Any]]:
    """Items that the annotator can be asked for."""
    known = {item["image"] for item in lists[config["known_list"]]}
    return [item for item in lists[config["pool_list"]] if item["image"] not in known]


def score_pool(config: dict[str, Any], items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Score the pool by the model, or read the scores that an earlier run wrote.

    Args:
        config: the experiment.
        items: the pool.

    Returns:
        Dictionaries of "image", both scores and "rank", the least understood first; also in scores.csv.

    Raises:
        ValueError: when the scores were made with other settings.
    """
    folder = Path(config["output_dir"]) / "scores"
    settings = {name: config[name] for name in ("model", "pool_list", "known_list", "uncertainty", "spread_weight")}
    file, marker = folder / "scores.csv", folder / "finished.json"
    if marker.is_file():
        if json.loads(marker.read_text(encoding="utf-8")) != settings:
            raise ValueError(f"{folder} was made with other settings: name another --output")
        with file.open(newline="", encoding="utf-8") as source:
            return list(csv.DictReader(source))
    predictor: Any = Bundle(config["bundle"]).predictor(ckpt_path=config["model"])
    uncertainty = WPlusUncertainty(predictor.inferer, **config["uncertainty"])
    generator = torch.Generator().manual_seed(0)
    found = []
    for first in range(0, len(items), BATCH):
        paths = [{"image": str(Path(config["dataset_dir"], item["image"]))} for item in items[first : first + BATCH]]
        images = torch.stack([predictor.prepare(path)["image"].as_tensor() for path in paths])
        found.append(uncertainty(images.to(predictor.device), predictor.network, generator=generator))
        print(f"scored {first + len(paths)} of {len(items)}", flush=True)
    both = Uncertainty(*(torch.cat(values).cpu() for values in zip(*found)))
    ranks = mean_rank(both, config["spread_weight"])
    rows = [
        {"image": item["image"], "reconstruction_error": error, "spread": spread, "rank": rank}
        for item, error, spread, rank in zip(items, *(values.tolist() for values in both), ranks.tolist())
    ]
    rows.sort(key=lambda row: -float(row["rank"]))
    folder.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as target:
        writer = csv.DictWriter(target, tuple(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    marker.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return rows


def plan(config: dict[str, Any], ranking: Sequence[str]) -> list[Stage]:
    """Lay out fine-tunings and evaluations, and write the datalist of each.

    Args:
        config: the experiment.
        ranking: images of the pool, the least understood first.

    Returns:
        The stages in the order in which they run; seeds one after the other, so that all of a seed can be compared.
    """
    lists = ConfigParser.load_config_file(config["datalist"])
    items = pool(config, lists)
    output = Path(config["output_dir"])
    stages = evaluations(config, output / "before", config["model"], config["datalist"], {"images": START, "seed": ""})
    for seed in config["seeds"]:
        asked = {
            CHOSEN: [item for image in ranking[: config["number"]] for item in items if item["image"] == image],
            RANDOM: random.Random(seed).sample(items, config["number"]),
        }
        for method, answered in asked.items():
            folder = output / f"{method.replace(' ', '_')}_{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            datalist, model = folder / "datalist.json", folder / "fine_tune" / "model.pt"
            content = {**lists, LABELLED: [*lists[config["known_list"]], *answered]}
            datalist.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            settings = {
                "datalist": datalist,
                "dataset_dir": config["dataset_dir"],
                "train_list": LABELLED,
                "image_lists": [config["pool_list"]],
                "start_ckpt_path": config["model"],
                "ckpt_path": model,
                "seed": seed,
                **config["fine_tune"],
            }
            stages.append(Stage(model.parent, FINE_TUNE, settings))
            stages += evaluations(config, folder, model, datalist, {"images": method, "seed": seed})
    return stages


def evaluations(
    config: dict[str, Any], folder: Path, model: str | Path, datalist: str | Path, row: dict[str, Any]
) -> list[Stage]:
    """Lay out the evaluation of a model on all lists."""
    data = {"datalist": datalist, "dataset_dir": config["dataset_dir"]}
    return [
        Stage(
            folder / f"evaluation_{name}",
            EVALUATION,
            {**data, "list_key": name, "ckpt_path": model, **config["evaluate"]},
            row | {"list": name},
        )
        for name in config["lists"]
    ]


def write_tables(rows: Sequence[dict[str, Any]], score: str, output: Path) -> None:
    """Write ``table.csv``, a row for each run and list, and ``table.md``, mean and standard deviation over seeds.

    Args:
        rows: dictionaries of :data:`COLUMNS` and the score.
        score: name of the score.
        output: the folder.
    """
    with (output / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, (*COLUMNS, score))
        writer.writeheader()
        writer.writerows(rows)
    sizes = {row["list"]: row["n"] for row in rows}
    lines = ["| images | seeds | " + " | ".join(f"`{key}` (n = {size}) {score}" for key, size in sizes.items()) + " |"]
    lines.append("|---|---:|" + "---:|" * len(sizes))
    for method in dict.fromkeys(row["images"] for row in rows):
        values = {key: [row[score] for row in rows if (row["images"], row["list"]) == (method, key)] for key in sizes}
        number = max(map(len, values.values()))
        cells = [method, "-" if method == START else str(number), *map(shown, values.values())]
        lines.append("| " + " | ".join(cells) + " |")
    (output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def shown(values: Sequence[float]) -> str:
    """Write mean and standard deviation, n - 1, of what there is."""
    if not values:
        return "-"
    mean = f"{statistics.mean(values):.4f}"
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left of an experiment and write its tables after every stage.

    Args:
        arguments: the command line; ``sys.argv`` by default.

    Returns:
        The exit code, 0 when all stages are finished.
    """
    parser = argparse.ArgumentParser(prog="python configs/active_learning.py", description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="the experiment, such as in configs/")
    parser.add_argument("--root", dest="dataset_dir", help="folder of the data, which the datalist's paths start from")
    parser.add_argument("--output", dest="output_dir", help="folder for weights, results and the table")
    parser.add_argument("--model", help="weights that all start from")
    options = vars(parser.parse_args(arguments))
    try:
        config = load_config(options.pop("config"), **options)
        lists = ConfigParser.load_config_file(config["datalist"])
        # the images' paths are checked before anything runs
        cohort(config["dataset_dir"], datalist=config["datalist"], list_key=config["pool_list"], labels=True)
        ranking = [row["image"] for row in score_pool(config, pool(config, lists))]
        stages = plan(config, ranking)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    output = Path(config["output_dir"])
    score = config["score"]
    return run_all(stages, config, lambda: write_tables(read_rows(stages, [score]), score, output))


if __name__ == "__main__":
    sys.exit(main())
