# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The table of results: SemanticGAN against a U-Net, each trained with several numbers of labels.

``python -m monai_semgan.apps.label_budget --config configs/lung_xray_label_budget.yaml``

Every stage is a ``python -m monai.bundle run`` of its own. What is finished is skipped when the command runs again;
the trainings of SemanticGAN go on from their checkpoints.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_semgan.metrics import REPORTED_SCORES, known_scores

COLUMNS = ("labels", "method", "list", "n")
SETTINGS = ("gan", "encoder", "unet", "evaluate")
EVALUATION = ("configs/inference.yaml", "configs/evaluate.yaml")


@dataclass(frozen=True)
class Stage:
    """One command of the experiment.

    Attributes:
        folder: where its results go.
        config_files: the configs that it runs, merged in this order.
        settings: what it overrides in them, by id.
        row: columns "labels", "method" and "list" of the table, of a stage that evaluates.
    """

    folder: Path
    config_files: tuple[str, ...]
    settings: dict[str, Any]
    row: dict[str, Any] | None = None

    @property
    def command(self) -> list[str]:
        """The command line after ``python``, for the bundle's folder."""
        options = {
            "config_file": f"[{','.join(map(repr, self.config_files))}]",
            "meta_file": "configs/metadata.json",
            "logging_file": "configs/logging.conf",
            **self.settings,
            "output_dir": self.folder,
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        return ["-m", "monai.bundle", "run", *arguments]

    @property
    def marker(self) -> Path:
        """File that says that the stage is finished, and with which command."""
        return self.folder / "finished.json"


def plan(config: dict[str, Any]) -> list[Stage]:
    """Lay out the experiment.

    Args:
        config: as ``configs/lung_xray_label_budget.yaml``, with absolute paths.

    Returns:
        All stages in the order in which they run.

    Raises:
        ValueError: when a list does not exist, or a budget builds on one that does not come before it.
    """
    datalist = ConfigParser.load_config_file(config["datalist"])
    keys = {entry["list_key"] for entry in config["lists"]}
    stages: list[Stage] = []
    before: list[str] = []
    for budget in config["budgets"]:
        train_list, source = budget["train_list"], budget.get("generator", budget.get("warm_start"))
        if missing := {train_list, *keys} - set(datalist):
            raise ValueError(f"{config['datalist']} has no list {sorted(missing)}, it has {list(datalist)}")
        if source is not None and source not in before:
            raise ValueError(f"budget {train_list} builds on {source}, which has to be one before it: {before}")
        before.append(train_list)
        stages += plan_budget(config, budget, len(datalist[train_list]))
    return stages


def plan_budget(config: dict[str, Any], budget: dict[str, Any], labels: int) -> list[Stage]:
    """Lay out what is done with one list of labelled images.

    Args:
        config: the experiment.
        budget: its entry of ``config["budgets"]``.
        labels: number of labelled images.

    Returns:
        The stages: U-Net, GAN and encoder, which the U-Net teaches, each with its evaluation on all lists.
    """
    output = Path(config["output_dir"])
    folder = output / budget["train_list"]
    own = {name: {**config[name], **budget.get(name, {})} for name in SETTINGS}
    data = {name: config[name] for name in ("datalist", "dataset_dir")}
    training = {**data, "train_list": budget["train_list"]}
    start = {"warm_start": output / budget["warm_start"] / "gan" / "state.pt"} if budget.get("warm_start") else {}
    gan = output / budget.get("generator", budget["train_list"]) / "gan" / "state.pt"
    unet, model = folder / "unet" / "model.pt", folder / "encoder" / "model.pt"
    path = {"gan_ckpt_path": gan, "ckpt_path": model, "teacher_ckpt_path": unet}
    unet_files = (*EVALUATION, config["unet_evaluate_config"])
    no_steps = {"displayable_configs::refine_steps": 0}

    def evaluations(method: str, name: str, files: tuple[str, ...], settings: dict[str, Any]) -> list[Stage]:
        return [
            Stage(
                folder / f"{name}_{entry['name']}",
                (*files, entry["config"]) if "config" in entry else files,
                {**data, "list_key": entry["list_key"], **own["evaluate"], **settings},
                {"labels": labels, "method": method, "list": entry["name"]},
            )
            for entry in config["lists"]
        ]

    gans = (
        []
        if "generator" in budget
        else [Stage(gan.parent, ("configs/train_gan.yaml",), {**training, **start, **own["gan"]})]
    )
    return [
        Stage(unet.parent, (config["unet_config"],), {**training, **own["unet"]}),
        *evaluations("U-Net", "unet", unet_files, {"ckpt_path": unet}),
        *gans,
        Stage(model.parent, ("configs/train_encoder.yaml",), {**training, **path, **own["encoder"]}),
        *evaluations("SemanticGAN, encoder only", "encoder", EVALUATION, {"ckpt_path": model, **no_steps}),
        *evaluations("SemanticGAN, refined", "refined", EVALUATION, {"ckpt_path": model}),
    ]


def run(stage: Stage, bundle: Path) -> None:
    """Run a stage, unless it is finished.

    Args:
        stage: the stage.
        bundle: the bundle's folder, in which the command runs.

    Raises:
        ValueError: when it was finished with other settings.
        RuntimeError: when the command fails.
    """
    if stage.marker.is_file():
        if json.loads(stage.marker.read_text(encoding="utf-8")) != stage.command:
            raise ValueError(
                f"{stage.folder} was made with other settings, see {stage.marker.name} there: move the folder away and "
                "those that build on it, or name another --output_dir"
            )
        return
    told = " ".join(f'"{part}"' if set(part) & set(" ',") else part for part in stage.command)
    print(f'cd "{bundle}"\npython {told}\n', flush=True)
    stage.folder.mkdir(parents=True, exist_ok=True)
    code = subprocess.run([sys.executable, *stage.command], cwd=bundle).returncode
    if code != 0:
        raise RuntimeError(f"exit code {code}, see the messages above; the same command goes on from here")
    stage.marker.write_text(json.dumps(stage.command, indent=2) + "\n", encoding="utf-8")


def run_all(stages: Sequence[Stage], config: dict[str, Any], tabulate: Callable[[], None]) -> int:
    """Run what is left of an experiment and tell its tables.

    Args:
        stages: its stages.
        config: its "bundle" and "output_dir".
        tabulate: writes ``table.csv`` and ``table.md`` there, after every stage.

    Returns:
        The exit code, 0 when all stages are finished and 1 when one failed.
    """
    output = Path(config["output_dir"])
    for number, stage in enumerate(stages, start=1):
        name = stage.folder.relative_to(output)
        print(f"[{number}/{len(stages)}] {name}", flush=True)
        try:
            run(stage, Path(config["bundle"]))
            tabulate()
        except (RuntimeError, ValueError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
    print(f"\n{(output / 'table.md').read_text(encoding='utf-8')}\n{output / 'table.csv'}\n{output / 'table.md'}")
    return 0


def read_rows(stages: Sequence[Stage], scores: Iterable[str]) -> list[dict[str, Any]]:
    """Read the rows of the table, of the evaluations that are finished, from what the bundle wrote.

    Args:
        stages: the stages.
        scores: names of the scores to read.

    Returns:
        Dictionaries of :data:`COLUMNS` and the scores.

    Raises:
        ValueError: when the bundle did not report a score.
    """
    rows = []
    for stage in stages:
        if stage.row is not None and stage.marker.is_file():
            path = stage.folder / "summary.json"
            summary = json.loads(path.read_text(encoding="utf-8"))
            if missing := [score for score in scores if score not in summary]:
                raise ValueError(
                    f"{path} has no {missing}: add them to the bundle's scores and move {stage.folder} away, or take "
                    "them out of the experiment's"
                )
            means = {score: summary[score]["mean"] for score in scores}
            rows.append(stage.row | {"n": summary["patients"]} | means)
    return rows


def write_tables(rows: Sequence[dict[str, Any]], scores: dict[str, dict[str, Any]], output: Path) -> None:
    """Write ``table.csv``, a row for each budget, method and list, and ``table.md``, the lists side by side.

    Args:
        rows: dictionaries of :data:`COLUMNS` and the scores.
        scores: by name, the "head" of the score's column in ``table.md`` and the number of "digits" after the point.
        output: the folder.
    """
    with (output / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, (*COLUMNS, *scores))
        writer.writeheader()
        writer.writerows(rows)
    sizes = {row["list"]: row["n"] for row in rows}
    cells = {(row["labels"], row["method"], row["list"]): row for row in rows}
    heads = ["labels", "method"]
    for key, size in sizes.items():
        first, *others = (score["head"] for score in scores.values())
        heads += [f"`{key}` (n = {size}) {first}", *others]
    lines = ["| " + " | ".join(heads) + " |", "|---:|---|" + "---:|" * (len(heads) - 2)]
    for labels, method in dict.fromkeys((row["labels"], row["method"]) for row in rows):
        cell = [str(labels), method]
        for key in sizes:
            row = cells.get((labels, method, key), {})
            cell += [shown(row.get(name), score["digits"]) for name, score in scores.items()]
        lines.append("| " + " | ".join(cell) + " |")
    (output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def shown(value: float | None, digits: int) -> str:
    """Write a number, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def load_config(path: Path, dataset_dir: str | None = None, output_dir: str | None = None) -> dict[str, Any]:
    """Read an experiment and make its paths absolute.

    Args:
        path: YAML or JSON file.
        dataset_dir: folder of the data instead of the file's.
        output_dir: folder of the results instead of the file's.

    Returns:
        The parsed settings.

    Raises:
        FileNotFoundError: when something that it names does not exist.
        ValueError: when a score is unknown, or an entry of "lists" is no name and no description of an evaluation.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: --config must name an experiment")
    parser = ConfigParser()
    parser.read_config(str(path))
    for name, value in (("dataset_dir", dataset_dir), ("output_dir", output_dir)):
        if value is not None:
            parser[name] = value
    parser.parse()
    names = ("bundle", "dataset_dir", "datalist", "output_dir", "unet_config", "unet_evaluate_config")
    config = {name: str(Path(parser.get_parsed_content(name)).resolve()) for name in names}
    for name in names:
        if name != "output_dir" and not Path(config[name]).exists():
            hint = ": set SEMGAN_DATA or give --dataset_dir" if name in ("dataset_dir", "datalist") else ""
            raise FileNotFoundError(f"{name} {config[name]} does not exist{hint}")
    config |= {name: parser.get_parsed_content(name) for name in ("scores", "budgets", *SETTINGS)}
    known_scores(config["scores"], REPORTED_SCORES)
    return config | {"lists": read_lists(parser.get_parsed_content("lists"))}


def read_lists(entries: Iterable[str | dict[str, str]]) -> list[dict[str, str]]:
    """Read on what to evaluate.

    Args:
        entries: names of lists of the datalist, or dictionaries of "list_key", its name, "config", a config file that
            is merged last when it is evaluated, and "name", which the table shows.

    Returns:
        Dictionaries of "name", "list_key" and, where there is one, the absolute path "config".

    Raises:
        FileNotFoundError: when a config file does not exist.
        ValueError: when an entry is neither, or two have the same name.
    """
    lists: list[dict[str, str]] = []
    for entry in entries:
        if isinstance(entry, str):
            entry = {"name": entry, "list_key": entry}
        elif set(entry) != {"name", "list_key", "config"}:
            raise ValueError(f"lists has {entry}, an entry is the name of a list or has name, list_key and config")
        else:
            entry = entry | {"config": str(Path(entry["config"]).resolve())}
            if not Path(entry["config"]).is_file():
                raise FileNotFoundError(f"config {entry['config']} of {entry['name']} in lists does not exist")
        if entry["name"] in [other["name"] for other in lists]:
            raise ValueError(f"lists has {entry['name']} twice, each entry needs a name of its own")
        lists.append(entry)
    return lists


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left of an experiment and write its tables after every stage.

    Args:
        arguments: the command line; ``sys.argv`` by default.

    Returns:
        The exit code, 0 when all stages are finished.
    """
    parser = argparse.ArgumentParser(
        prog="python -m monai_semgan.apps.label_budget", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--config", type=Path, required=True, help="the experiment, such as in configs/")
    parser.add_argument("--dataset_dir", help="folder of the data, which the datalist's paths start from")
    parser.add_argument("--output_dir", help="folder for checkpoints, results and the table")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config, options.dataset_dir, options.output_dir)
        stages = plan(config)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    output = Path(config["output_dir"])
    return run_all(
        stages,
        config,
        lambda: write_tables(read_rows(stages, config["scores"]), config["scores"], output),
    )


if __name__ == "__main__":
    sys.exit(main())
