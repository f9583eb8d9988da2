# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The table of results: SemanticGAN against a U-Net, each trained with several numbers of labels.

``semgan table lung_xray``

Every stage is a ``python -m monai.bundle run`` of its own. What is finished is skipped when the command runs again;
the trainings of SemanticGAN go on from their checkpoints.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_semgan.bundle import Bundle
from monai_semgan.metrics import REPORTED_SCORES, known_scores

COLUMNS = ("labels", "method", "list", "n")
SETTINGS = ("gan", "encoder", "student", "unet", "evaluate")
EVALUATION = ("configs/inference.yaml", "configs/evaluate.yaml")
GAN = ("configs/train_gan.yaml",)
ENCODER = ("configs/train_encoder.yaml",)
UNET = ("configs/train_unet.yaml",)
STUDENT = (*UNET, "configs/train_student.yaml")
UNET_EVALUATION = (*EVALUATION, "configs/evaluate_unet.yaml")


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
    """Lay out the experiment: for each budget U-Net, GAN, encoder and student, and their evaluations.

    Args:
        config: as :func:`load_config` reads it.

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
    """Lay out what is done with one list of so many labelled images."""
    output, train_list = Path(config["output_dir"]), budget["train_list"]
    own = {name: {**config[name], **budget.get(name, {})} for name in SETTINGS}
    data = {name: config[name] for name in ("datalist", "dataset_dir")}
    training = {**data, "train_list": train_list}
    gan = output / budget.get("generator", train_list) / "gan" / "state.pt"
    unet, model = output / train_list / "unet" / "model.pt", output / train_list / "encoder" / "model.pt"

    def evaluations(method: str, name: str, files: tuple[str, ...], settings: dict[str, Any]) -> list[Stage]:
        return [
            Stage(
                output / train_list / f"{name}_{entry['name']}",
                (*files, entry["config"]) if "config" in entry else files,
                {**data, "list_key": entry["list_key"], **own["evaluate"], **settings},
                {"labels": labels, "method": method, "list": entry["name"]},
            )
            for entry in config["lists"]
        ]

    stages = [Stage(unet.parent, UNET, {**training, **own["unet"]})]
    stages += evaluations("U-Net", "unet", UNET_EVALUATION, {"ckpt_path": unet})
    if "generator" not in budget:
        start = {"warm_start": output / budget["warm_start"] / "gan" / "state.pt"} if budget.get("warm_start") else {}
        stages.append(Stage(gan.parent, GAN, {**training, **start, **own["gan"]}))
    paths = {"gan_ckpt_path": gan, "ckpt_path": model, "teacher_ckpt_path": unet}
    stages.append(Stage(model.parent, ENCODER, {**training, **paths, **own["encoder"]}))
    no_steps = {"ckpt_path": model, "displayable_configs::refine_steps": 0}
    stages += evaluations("SemanticGAN, encoder only", "encoder", EVALUATION, no_steps)
    stages += evaluations("SemanticGAN, refined", "refined", EVALUATION, {"ckpt_path": model})
    student = output / train_list / "student" / "model.pt"
    teachers = {"gan_ckpt_path": model, "teacher_ckpt_path": unet}
    stages.append(Stage(student.parent, STUDENT, {**training, **teachers, **own["student"]}))
    for method, answer in (("student", "student"), ("both", "both")):
        settings = {"ckpt_path": student, "displayable_configs::answer": answer}
        stages += evaluations(method, answer + "_answer", EVALUATION, settings)
    return stages


def run(stage: Stage, bundle: Path) -> None:
    """Run a stage in a bundle's folder, unless it is finished.

    Raises:
        ValueError: when it was finished with other settings.
        RuntimeError: when the command fails.
    """
    if stage.marker.is_file():
        if json.loads(stage.marker.read_text(encoding="utf-8")) != stage.command:
            raise ValueError(
                f"{stage.folder} was made with other settings, see {stage.marker.name} there: move the folder away and "
                "those that build on it, or name another --output"
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
    """Read the rows of the table, :data:`COLUMNS` and scores, from what finished evaluations wrote.

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

    Of each score, ``scores`` has the "head" of its column in ``table.md`` and the number of "digits" after the point.
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
            values = [(row.get(name), score["digits"]) for name, score in scores.items()]
            cell += ["-" if value is None else f"{value:.{digits}f}" for value, digits in values]
        lines.append("| " + " | ".join(cell) + " |")
    (output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def load_config(
    bundle: Bundle, file: str = "table.yaml", dataset_dir: str | None = None, output_dir: str | None = None
) -> dict[str, Any]:
    """Read an experiment and make its paths absolute.

    Args:
        bundle: the bundle.
        file: YAML or JSON file, in the bundle's configs or elsewhere.
        dataset_dir: folder of the data instead of the file's.
        output_dir: folder of the results instead of the file's.

    Returns:
        The parsed settings, with the bundle's folder as "bundle".

    Raises:
        FileNotFoundError: when something that it names does not exist.
        ValueError: when a score is unknown, or an entry of "lists" is no name and no description of an evaluation.
    """
    given = {"dataset_dir": dataset_dir, "output_dir": output_dir}
    parser = bundle.parser(file, **{name: value for name, value in given.items() if value is not None})
    names = ("dataset_dir", "datalist", "output_dir")
    config = {name: str(Path(parser.get_parsed_content(name)).resolve()) for name in names}
    for name in names[:2]:
        if not Path(config[name]).exists():
            raise FileNotFoundError(f"{name} {config[name]} does not exist: set SEMGAN_DATA or give --root")
    config |= {name: parser.get_parsed_content(name) for name in ("scores", "budgets", *SETTINGS)}
    known_scores(config["scores"], REPORTED_SCORES)
    lists = read_lists(parser.get_parsed_content("lists"), bundle.root)
    return config | {"bundle": str(bundle.root), "lists": lists}


def read_lists(entries: Iterable[str | dict[str, str]], root: Path) -> list[dict[str, str]]:
    """Read on what to evaluate: names of lists of the datalist, or dictionaries.

    These have "list_key", its name, "config", a config file below ``root`` that is merged last when it is evaluated and
    becomes an absolute path, and "name", which the table shows.
    """
    lists: list[dict[str, str]] = []
    for entry in entries:
        if isinstance(entry, str):
            entry = {"name": entry, "list_key": entry}
        elif set(entry) != {"name", "list_key", "config"}:
            raise ValueError(f"lists has {entry}, an entry is the name of a list or has name, list_key and config")
        else:
            entry = entry | {"config": str(root / entry["config"])}
            if not Path(entry["config"]).is_file():
                raise FileNotFoundError(f"config {entry['config']} of {entry['name']} in lists does not exist")
        if entry["name"] in [other["name"] for other in lists]:
            raise ValueError(f"lists has {entry['name']} twice, each entry needs a name of its own")
        lists.append(entry)
    return lists


def table(
    bundle: Bundle, file: str = "table.yaml", dataset_dir: str | None = None, output_dir: str | None = None
) -> int:
    """Run what is left of an experiment, whose arguments are those of :func:`load_config`, and write its tables.

    Returns:
        The exit code, 0 when all stages are finished.

    Raises:
        FileNotFoundError: when something that the experiment names does not exist.
        ValueError: when it cannot be run.
    """
    config = load_config(bundle, file, dataset_dir, output_dir)
    stages, scores, output = plan(config), config["scores"], Path(config["output_dir"])
    return run_all(stages, config, lambda: write_tables(read_rows(stages, scores), scores, output))
