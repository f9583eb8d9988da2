# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The page at the end of a training: which answer to trust, what each scores, and what the networks learned."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_semgan.apps.check_data import Facts, inspect
from monai_semgan.apps.training import ANSWERS, STAGES, TITLES, minutes, number, scores_of
from monai_semgan.bundle import Bundle
from monai_semgan.data.cohort import read_datalist
from monai_semgan.handlers.time_budget import read_record
from monai_semgan.metrics.segmentation_scores import word
from monai_semgan.reports.overlay import LABEL_COLOUR
from monai_semgan.reports.page import picture, picture_file, render

# draws of the bootstrap, and the share of them that an interval holds
DRAWS, COVERAGE = 2000, 0.95
# parts of a training
PARTS = {"unet": "U-Net", "gan": "generative model", "encoder": "encoder and its final fit"}
# images shown of each kind
SHOWN, REAL = 4, 10


def bootstrap(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean and its percentile interval over draws of as many patients with replacement (Efron 1979).

    Args:
        values: a value of each patient; those that are not finite are left out.
        seed: seed of the draws.

    Returns:
        Mean, lower and upper end of the 95 % interval; NaN without any value.
    """
    known = np.asarray([value for value in values if math.isfinite(value)])
    if not len(known):
        return (math.nan,) * 3
    draws = np.random.default_rng(seed).integers(len(known), size=(DRAWS, len(known)))
    low, high = np.percentile(known[draws].mean(1), [50 * (1 - COVERAGE), 50 * (1 + COVERAGE)])
    return float(known.mean()), float(low), float(high)


def write_report(bundle: Bundle, output: Path, lists: Sequence[str]) -> Path:
    """Write report.html.

    Args:
        bundle: the bundle that was trained.
        output: folder of the training, its evaluations among it.
        lists: names of the evaluated lists, that by which the answer was chosen first.

    Returns:
        The page.
    """
    found = {
        list_key: {answer: rows for answer in ANSWERS if (rows := scores_of(output / "evaluation" / answer / list_key))}
        for list_key in lists
    }
    found = {list_key: answers for list_key, answers in found.items() if answers}
    chosen = read_record(output / "evaluation" / "answer.json")
    columns = list(next(iter(next(iter(found.values())).values()))[0])[2:] if found else []
    heads = [column for column in columns if not any(column.endswith(f"_{word(name)}") for name in bundle.classes)]
    if len(bundle.classes) < 2:
        heads = columns
    score = chosen.get("score", heads[0] if heads else "dice")
    # such as millimetres where no spacing is known
    heads = [
        h
        for h in heads
        if any(math.isfinite(row[h]) for lists_ in found.values() for rows in lists_.values() for row in rows)
    ]
    tables = {
        list_key: [(answer, len(rows), [cell(rows, column) for column in heads]) for answer, rows in answers.items()]
        for list_key, answers in found.items()
    }
    by_class = {
        list_key: [
            (name, [cell(rows, f"{score}_{word(name)}") for rows in answers.values()]) for name in bundle.classes
        ]
        for list_key, answers in found.items()
        if len(bundle.classes) > 1
    }
    shown = next((key for key in reversed(lists) if chosen.get("answer") in found.get(key, {})), None)
    samples = sorted((output / "gan" / "samples").glob("samples_*.png"))
    page = output / "report.html"
    text = render(
        "training_report.html",
        bundle=bundle,
        title=bundle.metadata.get("name", bundle.name),
        chosen=chosen,
        titles=TITLES,
        heads=[heading(head) for head in heads],
        tables=tables,
        by_class=by_class,
        score=heading(score),
        answers={list_key: [TITLES[answer] for answer in answers] for list_key, answers in found.items()},
        images=extremes(output / "evaluation" / chosen["answer"] / shown, score) if shown else {},
        shown=shown,
        label_colour=LABEL_COLOUR,
        samples=picture_file(samples[-1]) if samples else None,
        epoch=int(samples[-1].stem.rpartition("_")[2]) if samples else 0,
        real=real_images(bundle),
        curves={s: picture_file(p) for s in STAGES if (p := output / s / "losses.png").is_file()},
        times=times(output),
        plan=plan_rows(bundle.root / "plan.yaml"),
    )
    page.write_text(text, encoding="utf-8")
    return page


def heading(column: str) -> str:
    """The name of a score for readers."""
    known = {"dice": "Dice", "iou": "Jaccard (IoU)", "mean_iou": "mean IoU with background"}
    units = {"mm": "mm", "pixel": "pixels", "ml": "ml"}
    if column in known:
        return known[column]
    name, _, unit = column.rpartition("_")
    return f"{name.replace('_', ' ')}, {units[unit]}" if unit in units else column.replace("_", " ")


def cell(rows: Sequence[Mapping[str, Any]], column: str) -> str:
    """Mean and interval of a score as text."""
    mean, low, high = bootstrap([row.get(column, math.nan) for row in rows])
    if math.isnan(mean):
        return "–"
    digits = 3 if abs(mean) <= 1 and column.split("_")[0] in ("dice", "iou", "mean", "thresholded") else 1
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def extremes(folder: Path, score: str) -> dict[str, list[tuple[str, str, float]]]:
    """The worst and the best images of an evaluation: file, picture, score."""
    with (folder / "report.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "ok" and math.isfinite(number(row[score]))]
    rows.sort(key=lambda row: number(row[score]))
    count = min(SHOWN, len(rows))
    parts = {"worst": rows[:count], "best": rows[count:][::-1][:count]}
    return {
        name: [(row["file"], picture_file(folder / row["overlay"], 900), number(row[score])) for row in part]
        for name, part in parts.items()
        if part
    }


def real_images(bundle: Bundle) -> list[tuple[str, str]]:
    """Labelled images of the training with their outlines, of a bundle that names its data."""
    settings = bundle.read("settings.yaml")
    if "training" not in settings:
        return []
    path = bundle.root / settings["training"]["datalist"]
    shown = []
    for item in read_datalist(path, settings["train_list"], None)[:REAL]:
        fact = Facts(settings["train_list"], item, Path(item["image"]).name)
        inspect(fact, bundle.spatial_dims)
        shown += [(fact.file, picture(fact.tile))] if fact.tile is not None else []
    return shown


def times(output: Path) -> list[tuple[str, str, str, str]]:
    """What each part of a training took: name, time, steps, memory."""
    walls = read_record(output / "time.json").get("seconds", {})
    rows = []
    for name, seconds in walls.items():
        record = read_record(output / name / "time.json")
        memory = f"{record['peak_mb'] / 1024:.1f} GiB" if record.get("peak_mb") else ""
        steps = f"{record['steps']} in {record['epochs']} epochs" if record else ""
        rows.append((PARTS.get(name, name), minutes(seconds), steps, memory))
    return [*rows, ("in all", minutes(sum(walls.values())), "", "")] if rows else []


def plan_rows(path: Path) -> list[tuple[str, str, str]]:
    """Choices of a plan with their values and reasons, as they stand in the file."""
    if not path.is_file():
        return []
    found = (re.match(r"([a-z_]+): (.*?)(?:  # (.*))?$", line) for line in path.read_text("utf-8").splitlines())
    return [(row[1].replace("_", " "), row[2], row[3] or "") for row in found if row]
