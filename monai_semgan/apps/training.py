# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A whole training in one go that can be taken up at any point: stages, evaluation, choice of the answer, report.

``semgan train BUNDLE --hours 3``
"""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monai_semgan.apps.calibration import calibrate, learn_domain
from monai_semgan.apps.config_edit import edited
from monai_semgan.bundle import Bundle
from monai_semgan.data.cohort import read_datalist
from monai_semgan.data.taught_images import NoAgreement
from monai_semgan.handlers.checkpoints import save_beside
from monai_semgan.handlers.time_budget import read_record, write_record
from monai_semgan.networks.weights import read_state

logger = logging.getLogger(__name__)

# with the configs of each; a later one is merged over an earlier
STAGES = {
    "unet": ("train_unet.yaml",),
    "gan": ("train_gan.yaml",),
    "encoder": ("train_encoder.yaml",),
    "student": ("train_unet.yaml", "train_student.yaml"),
}
# shares of the time where a bundle names none, and that of the evaluation and the report
SHARES = {"unet": 0.22, "gan": 0.28, "encoder": 0.25, "student": 0.25}
EVALUATION = 0.12
# of the encoder's time, for what is fitted at its end
FIT = 0.15
# answers that are compared, the quickest first: weights, and settings of the evaluation
ANSWERS: dict[str, dict[str, Any]] = {
    "student": {"displayable_configs::answer": "student"},
    "unet": {},
    "encoder": {"displayable_configs::answer": "gan", "displayable_configs::refine_steps": 0},
    "refined": {"displayable_configs::answer": "gan"},
}
TITLES = {
    "student": "student",
    "unet": "U-Net",
    "encoder": "SemanticGAN, encoder alone",
    "refined": "SemanticGAN, refined",
}
# mean Dice by which a slower answer has to be better
WORTH = 0.002
# gradients of a step of refinement cost as much as this many passes
PASSES = 4
# images of the first part of an evaluation, from which its time is known
FIRST = 4


@dataclass
class Job:
    """What is to be trained, and with what.

    Attributes:
        bundle: the bundle.
        datalist: JSON file with the lists.
        output: folder for unet/, gan/, encoder/, student/, evaluation/ and the report.
        train_list: list of the labelled images.
        image_lists: lists whose labels are not read; none for the labelled images alone.
        val_list: list to validate and choose on.
        test_lists: lists that the report tells of besides.
        root: folder that the datalist's paths start from.
        stages: what to train.
        hours: time for all, evaluation and report included; None for the epochs that the bundle names.
        shares: of the time, by stage.
        generator: checkpoint of another GAN.
        settings: further settings of the configs by id.
        common: settings of all stages, such as "device".
        evaluate: whether to evaluate and report at the end.
    """

    bundle: Bundle
    datalist: Path
    output: Path
    train_list: str = "train"
    image_lists: Sequence[str] = ("unlabeled",)
    val_list: str = "val"
    test_lists: Sequence[str] = ()
    root: str | None = None
    stages: Sequence[str] = tuple(STAGES)
    hours: float | None = None
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    generator: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    common: Mapping[str, Any] = field(default_factory=dict)
    evaluate: bool = False

    @property
    def data(self) -> dict[str, Any]:
        """Settings of the configs that name the data."""
        return {"datalist": self.datalist, **({"dataset_dir": self.root} if self.root else {})}

    @property
    def weights(self) -> Path:
        """Weights of generator, encoder and student."""
        return self.output / "student" / "model.pt"

    @property
    def own(self) -> bool:
        """Whether the bundle is the user's, so that weights and the answer are written into it."""
        return (self.bundle.root / "plan.yaml").is_file()


class Clock:
    """What has taken how long, kept in a file, and what is left for the stages.

    Args:
        path: the file.
        hours: time for all; None for no limit.
        shares: of the time, by stage.
        stages: the stages to come.
    """

    def __init__(self, path: Path, hours: float | None, shares: Mapping[str, float], stages: Sequence[str]) -> None:
        self.path = path
        self.hours = hours
        self.shares = {stage: shares.get(stage, SHARES[stage]) for stage in stages}
        state = read_record(path)
        self.walls: dict[str, float] = state.get("seconds", {})
        self.finished: list[str] = state.get("finished", [])
        self.lost: float = state.get("lost", 0.0)
        # of the evaluation of one answer
        self.one: float = state.get("one", 0.0)
        self.again: list[str] = []
        if hours is not None and hours > (state.get("hours") or hours) and self.finished:
            # the GAN is lengthened, and the encoder begins anew from it, where as much is added as was used
            if self.left() < self.used():
                self.finished = [stage for stage in self.finished if stage == "gan"]
            else:
                self.finished, self.again = [], ["encoder"]
        self.planned = max(hours or 0, state.get("hours") or 0) or None
        self.began = time.monotonic()

    def used(self, stage: str | None = None) -> float:
        """Seconds that a stage, or all, took so far."""
        if stage is not None:
            record = read_record(self.path.parent / stage / "time.json").get("seconds", 0.0)
            return max(self.walls.get(stage, 0.0), record)
        others = sum(value for name, value in self.walls.items() if name not in STAGES)
        return self.lost + others + sum(self.used(name) for name in STAGES)

    def left(self, whole: bool = False) -> float:
        """Seconds left for stages, or of the whole."""
        assert self.hours is not None
        # the student is evaluated as the U-Net was, and with what is left the refinement, and calibrated
        reserve = max(3600 * self.hours * EVALUATION - self.walls.get("evaluation", 0.0), 2 * self.one)
        return 3600 * self.hours - self.used() - (0.0 if whole else reserve)

    def budget(self, stage: str) -> float | None:
        """Seconds for a stage in all, those that it took already included; None for no limit."""
        if self.hours is None:
            return None
        coming = sum(share for name, share in self.shares.items() if name not in self.finished)
        return max(1.0, self.used(stage) + self.left() * self.shares[stage] / coming)

    def forget(self, stage: str) -> None:
        """Let a stage begin anew."""
        self.lost += self.used(stage)
        self.walls.pop(stage, None)

    def add(self, name: str, seconds: float, finished: bool = False) -> None:
        """Keep what something took."""
        self.walls[name] = round(self.walls.get(name, 0.0) + seconds, 1)
        if finished and name not in self.finished:
            self.finished.append(name)
        # of several processes the first
        if os.environ.get("RANK", "0") != "0":
            return
        state = {"hours": self.planned, "seconds": self.walls, "finished": self.finished}
        state |= {"lost": round(self.lost, 1), "one": round(self.one, 1)}
        write_record(self.path, state)


def train(job: Job, configs: Sequence[str] = ()) -> None:
    """Train the stages, evaluate, choose the answer and write the report; what is done already is left as it is.

    Args:
        job: what to train.
        configs: further configs of the stages, such as for several GPUs.

    Raises:
        ValueError: when a stage lacks what an earlier one makes, or the data are at fault.
    """
    clock = Clock(job.output / "time.json", job.hours, job.shares, job.stages)
    for stage in clock.again:
        if stage in job.stages and (job.output / stage).is_dir():
            clock.forget(stage)
            shutil.rmtree(job.output / stage)
    for number, stage in enumerate(job.stages, 1):
        if job.hours is not None and stage in clock.finished:
            continue
        budget = clock.budget(stage)
        told = ""
        if budget is not None:
            told = f" for {minutes(budget - clock.used(stage))}; in all {minutes(clock.left(True))} left"
        print(f"{stage} ({number} of {len(job.stages)}): {job.output / stage}{told}", flush=True)
        began, before = time.monotonic(), clock.used(stage)
        run_stage(job, stage, budget, configs)
        clock.walls[stage] = before
        clock.add(stage, time.monotonic() - began, finished=True)
        if job.evaluate and stage in ("unet", "encoder"):
            # at once, so that what the rest of the evaluation takes is known
            began = time.monotonic()
            for list_key in [job.val_list, *job.test_lists]:
                evaluate(job, stage, list_key, weights_of(job, stage))
            clock.one = max(clock.one, time.monotonic() - began)
            clock.add("evaluation", time.monotonic() - began)
    if "student" not in job.stages:
        return
    began = time.monotonic()
    if job.evaluate:
        evaluate_and_choose(job, clock)
        clock.add("evaluation", time.monotonic() - began)
        began = time.monotonic()
    chosen = read_record(job.output / "evaluation" / "answer.json").get("answer")
    state = {"answer": chosen, "weights": [changed(path) for a in ANSWERS if (path := weights_of(job, a)).is_file()]}
    marker = job.output / "calibrated.json"
    if not job.own or read_record(marker) != state:
        weights = own_weights(job) if job.own else job.weights
        calibrate_on(job, weights, None if job.hours is None else max(30.0, clock.left(True)))
        clock.add("calibration", time.monotonic() - began)
        write_record(marker, state)
    if job.evaluate:
        from monai_semgan.reports.training_report import write_report

        print(f"report: {write_report(job.bundle, job.output, [job.val_list, *job.test_lists])}", flush=True)


def own_weights(job: Job) -> Path:
    """Put the weights into the user's bundle, with the U-Net as the student where it answers better."""
    weights = job.bundle.root / "models" / "model.pt"
    weights.parent.mkdir(exist_ok=True)
    if read_record(job.output / "evaluation" / "answer.json").get("answer") == "unet":
        put_student(job.output / "unet" / "model.pt", job.output / "encoder" / "model.pt", weights)
    else:
        shutil.copyfile(job.weights, weights)
    return weights


def minutes(seconds: float) -> str:
    """A time in words."""
    seconds = max(0.0, seconds)
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{seconds / 60:.1f} minutes"


def run_stage(job: Job, stage: str, seconds: float | None, configs: Sequence[str] = ()) -> None:
    """Train a stage, or go on with it."""
    unet, gan = job.output / "unet" / "model.pt", Path(job.generator or job.output / "gan" / "state.pt")
    encoder = job.output / "encoder" / "model.pt"
    settings: dict[str, Any] = {**job.common, **job.data, "train_list": job.train_list}
    own = seconds * (1 - FIT) if seconds is not None and stage == "encoder" else seconds
    settings |= {"output_dir": job.output / stage} | ({} if own is None else {"seconds": own})
    if stage != "unet":
        settings["image_lists"] = [*job.image_lists, job.train_list]
    if stage == "encoder":
        settings |= {"val_list": job.val_list, "gan_ckpt_path": gan}
        settings |= {"teacher_ckpt_path": unet} if unet.is_file() else {}
    if stage == "student":
        settings |= {"gan_ckpt_path": encoder, "teacher_ckpt_path": unet}
        if not job.image_lists:
            put_student(unet, encoder, job.weights)
            return
        labels = job.output / "student" / "labels.pt"
        # teachers that have learned more since
        if labels.is_file() and labels.stat().st_mtime < max(unet.stat().st_mtime, encoder.stat().st_mtime):
            labels.unlink()
    known = job.bundle.read(*STAGES[stage])
    # a setting of one stage alone is left out of the others
    settings |= {
        name: value for name, value in job.settings.items() if len(job.stages) == 1 or name.split("::")[0] in known
    }
    try:
        job.bundle.run(*STAGES[stage], *configs, **settings)
    except NoAgreement as error:
        print(f"student: {error}; the U-Net takes its place", flush=True)
        put_student(unet, encoder, job.weights)


def put_student(unet: Path, encoder: Path, weights: Path) -> None:
    """Put the U-Net into the weights as the student."""
    for path in (unet, encoder):
        if not path.is_file():
            raise ValueError(f"{path} is missing: train the stages unet, gan and encoder before student")
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_beside(read_state(unet), weights, "student.", encoder)
    print(f"student: the U-Net, in {weights}", flush=True)


def calibrate_on(job: Job, weights: Path, seconds: float | None = None) -> None:
    """Let the weights know images of their kind and predict the Dice of their masks, where there are enough images."""
    lists = [job.train_list, *job.image_lists]
    root: dict[str, Any] = {"dataset_dir": job.root} if job.root else {}
    few: dict[str, Any] = {}
    if seconds is not None:
        # of an image, by the evaluation of the answer
        per_image = read_record(job.output / "evaluation" / "answer.json").get("seconds_per_image", 0.0)
        number = len(read_datalist(job.datalist, job.val_list, Path(job.root) if job.root else None))
        few = {"copies": int(np.clip(0.5 * seconds / max(per_image * number, 1e-6) - 1, 1, 8))}
    try:
        learn_domain(job.bundle, job.datalist, lists, weights=weights, **root)
    except ValueError as error:
        print(f"images of another kind are not told: {error}", flush=True)
    try:
        calibrate(job.bundle, job.datalist, job.val_list, weights=weights, **few, **root)
    except ValueError as error:
        print(f"no Dice is predicted of masks: {error}", flush=True)


def evaluate_and_choose(job: Job, clock: Clock) -> None:
    """Evaluate all answers on the lists, choose one by the first list, and write it into the bundle."""
    began = time.monotonic()
    lists = [job.val_list, *job.test_lists]
    speeds: dict[str, float] = {}
    for place, list_key in enumerate(lists):
        for answer in ANSWERS:
            weights = weights_of(job, answer)
            if not weights.is_file():
                continue
            most = None
            # what is quick is done in full, refinement as far as the time goes
            if clock.hours is not None and answer == "refined":
                left = 0.7 * (clock.left(True) - (time.monotonic() - began)) / (len(lists) - place)
                guess = speeds.get("refined") or speeds.get("encoder", 1.0) * (
                    1 + PASSES * refinement_steps(job.bundle)
                )
                most = int(left / guess)
                if most < 1:
                    print(f"{answer} on {list_key}: left out, no time is left for it", flush=True)
                    continue
            speeds[answer] = evaluate(job, answer, list_key, weights, most)
    choose_answer(job, speeds)


def refinement_steps(bundle: Bundle) -> int:
    """Steps of refinement of the bundle's preset."""
    from monai_semgan.inferers.wplus_inferer import PRESETS

    return int(PRESETS[bundle.read("inference.yaml")["displayable_configs"]["preset"]]["steps"])


def weights_of(job: Job, answer: str) -> Path:
    """The weights that an answer is evaluated with."""
    return job.output / {"unet": "unet", "student": "student"}.get(answer, "encoder") / "model.pt"


def evaluate(job: Job, answer: str, list_key: str, weights: Path, most: int | None = None) -> float:
    """Evaluate an answer on a list, in full or on some of its images, evenly spread.

    Returns:
        Seconds an image, as they were measured where nothing was left to do.
    """
    folder = job.output / "evaluation" / answer / list_key
    marker = folder / "weights.json"
    state = {"weights": changed(weights), "most": most}
    done = read_record(marker)
    if done.get("weights") == state["weights"] and "seconds" in done and (done["most"] == most or most is not None):
        return float(done["seconds"])
    base = Path(job.root) if job.root else job.datalist.parent
    items = read_datalist(job.datalist, list_key, base)
    if most is not None and most < len(items):
        items = [items[round(place)] for place in np.linspace(0, len(items) - 1, most).tolist()]
    folder.mkdir(parents=True, exist_ok=True)
    subset = folder / "datalist.json"
    subset.write_text(json.dumps({list_key: items}), encoding="utf-8")
    files = ["inference.yaml", "evaluate.yaml"] + ["evaluate_unet.yaml"] * (answer == "unet")
    settings = {**job.common, "datalist": subset, "dataset_dir": str(base), "list_key": list_key}
    settings |= {"output_dir": folder, "ckpt_path": weights, "num_workers": 0, **ANSWERS[answer]}
    print(f"{answer} on {list_key}: {len(items)} images", flush=True)
    began = time.monotonic()
    try:
        job.bundle.run(*files, **settings)
    except SystemExit as stopped:
        # images that failed are named in the report, the others count
        if stopped.code not in (0, 1) or not (folder / "patients.csv").is_file():
            raise
    seconds = (time.monotonic() - began) / max(1, len(items))
    write_record(marker, state | {"seconds": seconds})
    return seconds


def changed(weights: Path) -> float:
    """When the training of weights last went on; the file itself changes when it is calibrated."""
    made = weights.with_name("state.pt")
    return (made if made.is_file() else weights).stat().st_mtime


def scores_of(folder: Path) -> list[dict[str, Any]]:
    """The scores of each patient in the folder of an evaluation; none where it was not made."""
    path = folder / "patients.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: v if k == "patient" else number(v) for k, v in row.items()} for row in csv.DictReader(file)]


def number(text: str) -> float:
    """A cell of a table; NaN where it is empty."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def choose_answer(job: Job, speeds: Mapping[str, float]) -> None:
    """Choose the answer with the best mean Dice on the first list, two compared on the images that both did."""
    found = {a: {r["patient"]: r for r in scores_of(job.output / "evaluation" / a / job.val_list)} for a in ANSWERS}
    found = {answer: rows for answer, rows in found.items() if rows}
    if not found:
        print("no answer was evaluated: the bundle's own stays", flush=True)
        return
    score = next((s for s in ("dice", "iou") if s in next(iter(next(iter(found.values())).values()))), "dice")
    most = max(map(len, found.values()))
    # so few of the slowest tell nothing: it is left out
    found = {answer: rows for answer, rows in found.items() if len(rows) >= 0.25 * most}
    best, *others = found
    for answer in others:
        # on what both did, which is all but for the slowest
        both = found[best].keys() & found[answer].keys()
        mean, least = (float(np.nanmean([found[a][p][score] for p in both])) for a in (answer, best))
        if mean > least + WORTH:
            best = answer
    means = {a: float(np.nanmean([row[score] for row in rows.values()])) for a, rows in found.items()}
    told = ", ".join(
        f"{TITLES[a]} {value:.3f}" + (f" (on {len(found[a])})" if len(found[a]) < most else "")
        for a, value in means.items()
    )
    why = f"mean {score} on {most} of {job.val_list}: {told}"
    text = f"By default this bundle answers with the {TITLES[best]}: {why}."
    per_image = round(speeds.get(best, 0.0), 3)
    record = {"seconds_per_image": per_image, "answer": best, "score": score, "means": means, "why": text}
    write_record(job.output / "evaluation" / "answer.json", record)
    print(text, flush=True)
    if not job.own:
        return
    values = {
        "displayable_configs::answer": "student" if best in ("student", "unet") else "gan",
        "displayable_configs::refine_steps": 0 if best == "encoder" else -1,
    }
    path = job.bundle.root / "configs" / "inference.yaml"
    path.write_text(edited(path, values), encoding="utf-8")
