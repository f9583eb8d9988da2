# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A bundle for images and labels of one's own: from what they look like and the hours given to its files.

``semgan new DATALIST BUNDLE_FOLDER --hours 3``

The fingerprint is that of :mod:`monai_semgan.apps.check_data`. What follows from it, each choice with its reason, is
the plan, which is written as plan.yaml into the bundle and may be edited and given back.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ignite.engine import Events

from monai_semgan import recipes
from monai_semgan.apps.check_data import (
    COMPARED,
    TRAINING,
    Facts,
    Findings,
    check,
    colour_of,
    is_list_of_items,
    named_lists,
    part_of,
    read_content,
)
from monai_semgan.apps.config_edit import edited
from monai_semgan.apps.training import EVALUATION, FIT, SHARES
from monai_semgan.bundle import Bundle, find_bundle, parsed

PLAN = "plan.yaml"
# the shipped bundle that a new one takes its configs from, by spatial dimensions and channels
BASES = {(2, 1): "lung_xray", (2, 3): "lesion_dermoscopy", (3, 1): "liver_ct_mri"}
# channel_base, channel_max and latent_dim of the networks by their size
WIDTHS = {32: (512, 64, 64), 64: (1024, 128, 128), 128: (2048, 256, 192), 256: (4096, 256, 192)}
# a structure is this many pixels thick at least, at the network's size
THINNEST = 3.0
# steps of the stages that a training has where time does not matter, and of the GAN without which it is worth nothing
STEPS = {"unet": 3000, "gan": 3000, "encoder": 4400, "student": 2500}
FEWEST_STEPS, FEWEST_FOR_STRUCTURE = 1000, 400
# of a stage's time for an epoch, and steps of an epoch
EPOCH, EPOCH_STEPS = 0.05, (4, 50)
# labelled images from which some are held out where there is no list to validate on
HELD_OUT_FROM = 5
# share of an image that is black from which histograms are not equalised
BLACK = 0.2
# the mean label and its mirror image are alike from this Dice on
SYMMETRIC = 0.85
# Hounsfield units reach down to this
HOUNSFIELD = -100
# words of classes that come in pairs
SIDES = re.compile(r"(^|[^a-z])(left|right|l|r)([^a-z]|$)", re.IGNORECASE)
CONTENT = re.compile(r"[^a-z0-9]+")
# choices that a begun training depends on
NETWORK = ("spatial_dims", "channels", "size", "channel_base", "channel_max", "latent_dim", "classes")


@dataclass
class Plan:
    """What a bundle is made by.

    Attributes:
        values: each choice by name.
        reasons: why, by the same names.
    """

    values: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def choose(self, name: str, value: Any, reason: str, given: Mapping[str, Any]) -> Any:
        """Put a choice into the plan; what a person wrote in a plan comes before it."""
        if name in given and given[name] != value:
            value, reason = given[name], f"as the plan says; by itself: {short(value)}, {reason}"
        self.values[name], self.reasons[name] = value, reason
        return value

    def text(self, name: str) -> str:
        """The plan as a person reads and edits it, each choice beside its reason."""
        lines = [
            f"# The plan of {name}. Change what you know better, then",
            "#   semgan new DATALIST BUNDLE_FOLDER --plan",
            "# makes the bundle's files anew.",
        ]
        for key, value in self.values.items():
            lines.append(f"{key}: {short(value)}  # {self.reasons[key]}")
        return "\n".join(lines) + "\n"


def short(value: Any) -> str:
    """Write a value as YAML in one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).removesuffix("...\n").strip()


def read_plan(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a plan.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: when it is no YAML of choices by name.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"plan {file} does not exist")
    try:
        plan = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"plan {file} is no YAML: {error}") from error
    if not isinstance(plan, dict):
        raise ValueError(f"plan {file} holds no choices by name, such as size: 128")
    return plan


def choose_lists(content: Mapping[str, Any], datalist: Path, train_list: str | None, given: Mapping[str, Any]) -> str:
    """Find the list of labelled images to learn from.

    Args:
        content: the lists of a datalist.
        datalist: its path, for messages.
        train_list: the list that the user names.
        given: a plan that a person edited.

    Raises:
        ValueError: when it is not clear, or there is none; the lists there are are named.
    """
    name = train_list or given.get("train_list")
    if name is not None:
        if name not in content:
            raise ValueError(f"datalist {datalist} has no list {name!r}, there are {named_lists(content)}")
        if part_of(str(name)) != TRAINING:
            raise ValueError(f"list {name!r} is one to validate or test on, and never learned from")
        return str(name)
    found = [k for k, v in content.items() if part_of(k) == TRAINING and any(i.get("label") for i in v)]
    if len(found) > 1:
        # the one whose name begins with train, where there is one
        found = [key for key in found if key.lower().startswith("train")] or found
    if len(found) == 1:
        return found[0]
    if not found:
        raise ValueError(f"datalist {datalist} has no labelled images to learn from, there are {named_lists(content)}")
    named = named_lists({key: content[key] for key in found})
    raise ValueError(f"several lists have labels: say --train-list, one of {named}")


def make_plan(
    findings: Findings,
    train_list: str,
    *,
    name: str,
    hours: float | None = None,
    given: Mapping[str, Any] | None = None,
    speeds: Mapping[int, Mapping[str, float]] | None = None,
) -> Plan:
    """Decide everything about a new bundle.

    Args:
        findings: what was found in the datalist.
        train_list: list of the labelled images.
        name: name of the bundle.
        hours: time for training and evaluation; None for as much as a full schedule takes.
        given: choices of a person, by name.
        speeds: measured seconds a step of the stages "unet", "gan" and "encoder", by size; without any the size is
            chosen by the images alone.

    Returns:
        The plan.

    Raises:
        ValueError: for a choice of a person that cannot be.
    """
    given = dict(given or {})
    # choices that are measured or follow from others are made anew
    hours = hours if hours is not None else given.get("hours")
    given.pop("hours", None)
    plan = Plan()
    labelled = [f for f in findings.facts if f.values is not None and f.part == TRAINING]
    images = [f for f in findings.facts if f.part == TRAINING and f.shape]
    volumes = findings.spatial_dims == 3
    plan.choose("name", name, "the folder's name", given)
    plan.choose("datalist", str(findings.datalist.absolute()), "the lists that it was made from", {})
    plan.choose("train_list", train_list, f"{len(labelled)} labelled {'volumes' if volumes else 'images'}", given)
    unlabelled = len([f for f in images if f.values is None])
    plan.choose("unlabelled", unlabelled, "images of the training's lists whose labels are not read", {})
    plan.choose("spatial_dims", findings.spatial_dims, "volumes, taken slice by slice" if volumes else "2-D images", {})
    classes = {c: list(colour_of(value)) for value, c in enumerate(findings.classes, 1)}
    plan.choose("classes", classes, "values of the labels from 1 on, and colours of their outlines", given)
    colour = sum(f.channels == 3 for f in images)
    channels = 1 if volumes or colour <= len(images) / 2 else 3
    plan.choose("channels", channels, f"{colour} of {len(images)} images are in colour", given)
    choose_size(plan, findings, labelled, images, hours, given, speeds or {})
    choose_intensity(plan, labelled or images, images, volumes, given)
    choose_augmentation(plan, labelled, findings.classes, given)
    choose_postprocessing(plan, labelled, findings.classes, given)
    choose_schedule(plan, hours, given, speed_at(speeds, plan["size"]) if speeds else {})
    if unknown := sorted(set(given) - set(plan.values)):
        raise ValueError(f"the plan has {', '.join(unknown)}, choices are {', '.join(plan.values)}")
    return plan


def choose_size(
    plan: Plan,
    findings: Findings,
    labelled: Sequence[Facts],
    images: Sequence[Facts],
    hours: float | None,
    given: Mapping[str, Any],
    speeds: Mapping[int, Mapping[str, float]],
) -> None:
    """Choose the networks' size by the images, the thinnest structure and the time."""
    longer = float(np.median([max(fact.shape[:2]) for fact in images]))
    most = next((size for size in WIDTHS if size >= longer), max(WIDTHS))
    thin = [s.thickness for f in labelled for s in f.shapes.values()]
    # what few labels show thinner may be cut off at the image's border
    thinnest = float(np.percentile(thin, 10)) if thin else 1.0
    needed = next((s for s in WIDTHS if s * thinnest >= THINNEST), max(WIDTHS))
    size, why = min(128, most), f"images are {longer:.0f} pixels wide"
    if hours is not None and speeds:
        # 128 pixels are enough but for thin structures
        largest = max(min(128, most), min(speeds))
        steps = {s: gan_steps(hours, speed_at(speeds, s)) for s in WIDTHS if min(speeds) <= s <= largest}
        enough = [s for s, number in steps.items() if number >= FEWEST_STEPS]
        size = max(enough, default=min(steps))
        why += f", and {hours:g} hours give the GAN {steps[size]} steps ({FEWEST_STEPS} at least)"
    if needed > size:
        larger = min(needed, most)
        number = gan_steps(hours, speed_at(speeds, larger)) if hours is not None and speeds else STEPS["gan"]
        if larger > size and number >= FEWEST_FOR_STRUCTURE:
            size, why = (
                larger,
                why + f"; the thinnest structure takes {100 * thinnest:.1f} % of a side: {size} is too small",
            )
        else:
            why += f"; more would serve the thinnest structure, {100 * thinnest:.1f} % of a side"
    size = plan.choose("size", size, why, given)
    if size not in WIDTHS:
        raise ValueError(f"size is {size}, it has to be one of {', '.join(map(str, WIDTHS))}")
    for key, value in zip(("channel_base", "channel_max", "latent_dim"), WIDTHS[size]):
        plan.choose(key, value, f"the table's for {size} pixels", given)


def speed_at(speeds: Mapping[int, Mapping[str, float]], size: int) -> Mapping[str, float]:
    """Seconds a step at a size; where it was not measured, four times those at half of it."""
    nearest = max((s for s in speeds if s <= size), default=min(speeds))
    factor = (size / nearest) ** 2
    return {stage: value * factor for stage, value in speeds[nearest].items()}


def gan_steps(hours: float, speed: Mapping[str, float]) -> int:
    """Steps of the GAN that fit into its share of the hours."""
    return int(3600 * hours * (1 - EVALUATION) * SHARES["gan"] / speed["gan"])


def choose_intensity(
    plan: Plan, labelled: Sequence[Facts], images: Sequence[Facts], volumes: bool, given: Mapping[str, Any]
) -> None:
    """Choose what is done to the intensities, and whether margins are cut."""
    if volumes:
        deep = sum(fact.least <= HOUNSFIELD for fact in images)
        if deep >= 0.9 * len(images):
            low = float(np.percentile([f.foreground[0] for f in labelled if f.foreground] or [-160], 10))
            high = float(np.percentile([f.foreground[2] for f in labelled if f.foreground] or [240], 90))
            margin = 0.25 * (high - low)
            window = [round(low - margin), round(high + margin)]
            plan.choose("intensity", "window", "values reach down to air: Hounsfield units", given)
            told = f"what the labels hold goes from {low:.0f} to {high:.0f}, and a margin"
        else:
            window = [0, 1]
            plan.choose(
                "intensity", "percentiles", f"{len(images) - deep} of {len(images)} volumes are no CT in HU", given
            )
            told = "not used: each volume is scaled by its own percentiles"
        plan.choose("window", window, told, given)
        plan.choose("frame", False, "margins are cut in 2-D images only", given)
        return
    dark = float(np.median([fact.dark for fact in images]))
    if plan["channels"] == 3:
        plan.choose("intensity", "percentiles", "colours are scaled as they are", given)
    elif dark > BLACK:
        plan.choose(
            "intensity", "percentiles", f"{100 * dark:.0f} % are black, as beside a sector of ultrasound", given
        )
    else:
        plan.choose("intensity", "equalise", f"{100 * dark:.0f} % are black: histograms are equalised", given)
    cut = max((fact.framed_out for fact in labelled), default=0.0)
    why = f"at most {100 * cut:.1f} % of a label lie in what would be cut"
    plan.choose("frame", cut <= 0.005, f"margins and borders around pictures: {why}", given)


def choose_augmentation(plan: Plan, labelled: Sequence[Facts], names: Sequence[str], given: Mapping[str, Any]) -> None:
    """Choose how far images may move, by where the labels lie and how they vary."""
    found = symmetry(labelled)
    sided = [value for value, name in enumerate(names, 1) if len(names) > 1 and SIDES.search(name)]
    if found is None:
        flip: bool | list[list[int]] = False
        why = "too few labels to tell"
    else:
        partners, overlap = found
        pairs = sorted([one, other] for one, other in partners.items() if one < other)
        flip = pairs or True
        why = f"the mean label overlaps with its mirror image with a Dice of {overlap:.2f} ({SYMMETRIC} is needed)"
        if overlap < SYMMETRIC:
            flip = False
        elif alone := [names[value - 1] for value in sided if partners.get(value, value) == value]:
            flip, why = False, f"{', '.join(alone[:3])} would be on the other side"
        elif pairs:
            why += ", where " + ", ".join(f"{names[a - 1]} and {names[b - 1]}" for a, b in pairs) + " change places"
    plan.choose("flip", flip, why, given)
    shapes = [main_shape(fact) for fact in labelled if fact.shapes]
    if len(shapes) < 2:
        spread = {"scale": 0.3, "shift": 0.1, "rotate": 12}
        reasons = dict.fromkeys(spread, "too few labels to tell")
    else:
        centres = np.array([shape.centre for shape in shapes])
        sides = np.log([shape.side for shape in shapes])
        angles = np.array([shape.angle for shape in shapes])
        angles = angles[np.isfinite(angles)]
        turned = abs(axial_spread(angles)) if len(angles) >= max(2, len(shapes) / 2) else 6.0
        spread = {
            "scale": round(float(np.clip(np.exp(2 * sides.std()) - 1, 0.2, 0.5)), 2),
            "shift": round(float(np.clip(2 * centres.std(0).max(), 0.08, 0.15)), 2),
            "rotate": round(float(np.clip(2 * turned, 10, 45))),
        }
        reasons = {
            "scale": f"sizes of the labels vary by {100 * (np.exp(sides.std()) - 1):.0f} %",
            "shift": f"their centres vary by {100 * centres.std(0).max():.0f} % of a side",
            "rotate": f"their directions vary by {turned:.0f} degrees"
            if len(angles) >= max(2, len(shapes) / 2)
            else "they have no direction",
        }
    for key, value in spread.items():
        plan.choose(key, value, reasons[key], given)


def main_shape(fact: Facts) -> Any:
    """The shape of a label's largest class."""
    return max(fact.shapes.values(), key=lambda shape: shape.pixels)


def axial_spread(angles: np.ndarray) -> float:
    """Standard deviation of directions of axes, for which -90 and 90 degrees are the same."""
    length = abs(np.exp(2j * np.radians(angles)).mean())
    return float(np.degrees(np.sqrt(-2 * np.log(max(length, 1e-6))) / 2))


def symmetry(labelled: Sequence[Facts]) -> tuple[dict[int, int], float] | None:
    """Find which classes are each other's mirror image, or their own.

    Args:
        labelled: facts with labels.

    Returns:
        The class that lies where each class's mirror image does, and the least soft Dice of the two mean labels; None
        with fewer than 2 labels.
    """
    values = sorted({value for fact in labelled for value in fact.masks})
    if len(labelled) < 2 or not values:
        return None
    empty = np.zeros((COMPARED, COMPARED))
    means = {value: np.mean([fact.masks.get(value, empty) for fact in labelled], axis=0) for value in values}

    def overlap(one: int, other: int) -> float:
        mirrored = means[other][:, ::-1]
        return float(2 * np.minimum(means[one], mirrored).sum() / (means[one].sum() + mirrored.sum()))

    partners = {one: max(values, key=lambda other: overlap(one, other)) for one in values}
    # both have to mean each other
    agreed = all(partners[other] == one for one, other in partners.items())
    return partners, min(overlap(one, other) for one, other in partners.items()) if agreed else 0.0


def choose_postprocessing(
    plan: Plan, labelled: Sequence[Facts], names: Sequence[str], given: Mapping[str, Any]
) -> None:
    """Choose how many pieces of a class are kept, and what is measured."""
    pieces: dict[str, int] = {}
    for value, name in enumerate(names, 1):
        counts = [s.pieces for f in labelled for v, s in f.shapes.items() if v == value or len(names) == 1]
        most = max(counts, default=0)
        # a number that varies is none to rely on
        pieces[name] = most if counts and most <= 3 and np.mean(np.equal(counts, most)) >= 0.9 else 0
    told = "connected pieces of a class that labels have, 0 where they vary: what is smaller is dropped"
    plan.choose("largest_components", pieces, told, given)
    if plan["spatial_dims"] == 3:
        plan.choose("measurements", {"volume": "ml"}, "volumes", given)
    else:
        plan.choose("measurements", {"area": "mm2", "diameter": "mm"}, "areas, in pixels where no size is known", given)


def choose_schedule(plan: Plan, hours: float | None, given: Mapping[str, Any], speed: Mapping[str, float]) -> None:
    """Choose hours, steps of an epoch, and what depends on the length of a training."""
    speed = dict(speed or given.get("seconds_per_step") or {"unet": 0.5, "gan": 1.5, "encoder": 1.5})
    speed.setdefault("student", 2.5 * speed["unet"])
    speed = {stage: round(value, 4) for stage, value in speed.items()}
    full = sum(STEPS[stage] * speed[stage] for stage in STEPS) / 3600 / (1 - EVALUATION)
    if hours is None:
        hours, why = round(full, 2), "what a full schedule takes at this size, no --hours were given"
    else:
        why = f"as given; a full schedule would take {full:.1f}"
    if not hours > 0:
        raise ValueError(f"hours is {hours}, training needs some")
    plan.choose("hours", hours, why, {})
    plan.choose("seconds_per_step", speed, "measured on this machine; the time left is measured again on the way", {})
    seconds = {stage: 3600 * hours * (1 - EVALUATION) * share for stage, share in SHARES.items()}
    told = ", ".join(f"{stage} {seconds[stage] / 60:.0f} min" for stage in SHARES)
    plan.choose("shares", SHARES, f"{told}; {100 * EVALUATION:.0f} % of all are for evaluation and report", given)
    epochs = {s: int(np.clip(EPOCH * seconds[s] / speed[s], *EPOCH_STEPS)) for s in SHARES if s != "student"}
    plan.choose("steps_per_epoch", epochs, "so that an epoch takes a 20th of its stage", given)
    # 16 of them cost about as much as a step, and 192 are needed
    gradients = int(np.clip(16 * FIT * seconds["encoder"] / speed["encoder"], 192, 2048))
    plan.choose("fit_gradients", gradients, f"the encoder's final fit gets {100 * FIT:.0f} % of its time", given)
    total = round(8 * seconds["gan"] / speed["gan"])
    images = int(np.clip(total / 2, 500, 20000))
    plan.choose("adaptation_images", images, f"half of the {total} images that the GAN will see", given)


def measure_speeds(
    folder: Path, sizes: Sequence[int], items: Mapping[str, Any], steps: int = 4
) -> dict[int, dict[str, float]]:
    """Measure seconds a step of U-Net, GAN and encoder on this machine.

    Args:
        folder: the new bundle, written with any plan.
        sizes: sizes of the networks to measure.
        items: lists "train" and "unlabeled" of a few items.
        steps: steps that are measured, after a first one.

    Returns:
        Seconds by stage, by size.
    """
    found: dict[int, dict[str, float]] = {}
    bundle = Bundle(folder)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "datalist.json").write_text(json.dumps(items))
        weights = None
        for size in sizes:
            base, most, latent = WIDTHS[size]
            network = {"size": size, "channel_base": base, "channel_max": most, "latent_dim": latent}
            settings: dict[str, Any] = {f"network_def::{name}": value for name, value in network.items()}
            settings |= {"datalist": root / "datalist.json", "train_list": "train", "image_lists": ["unlabeled"]}
            settings |= {"max_epochs": 1, "steps_per_epoch": steps + 1, "num_workers": 0, "train::handlers": []}
            found[size] = {}
            for stage in ("unet", "gan", "encoder"):
                own = dict(settings) | {"output_dir": root / f"{stage}_{size}"}
                if stage == "encoder":
                    own |= {"gan_ckpt_path": weights, "val_list": "train"}
                parser = bundle.parser(f"train_{stage}.yaml", **own)
                parsed(parser, "initialize::1")
                with contextlib.redirect_stderr(io.StringIO()):
                    trainer = parsed(parser, "train::trainer")
                times: list[float] = []
                trainer.add_event_handler(
                    Events.ITERATION_COMPLETED, lambda _, times=times: times.append(time.monotonic())
                )
                trainer.logger.setLevel("WARNING")
                # bars of its own
                with contextlib.redirect_stderr(io.StringIO()):
                    trainer.run()
                found[size][stage] = float(np.mean(np.diff(times)))
                if stage == "gan":
                    import torch

                    weights = root / "gan.pt"
                    torch.save({"generator_ema": trainer.ema.average.state_dict()}, weights)
    return found


def costs(findings: Findings, speeds: Mapping[int, Mapping[str, float]]) -> list[str]:
    """What each size costs, a line each."""
    lines = []
    for size, speed in speeds.items():
        own = dict(speed)
        own.setdefault("student", 2.5 * own["unet"])
        hours = sum(STEPS[stage] * own[stage] for stage in STEPS) / 3600 / (1 - EVALUATION)
        least = FEWEST_STEPS * own["gan"] / SHARES["gan"] / (1 - EVALUATION) / 3600
        told = ", ".join(f"{stage} {own[stage]:.2f}" for stage in STEPS)
        lines.append(
            f"size {size:>3}: a full schedule {hours:5.1f} hours, {least:4.1f} at the least; seconds a step: {told}"
        )
    return lines


def lists_of(findings: Findings) -> tuple[dict[str, list[dict[str, Any]]], str]:
    """The lists of the new bundle's own datalist, and what was done where there was none to validate on."""
    lists: dict[str, list[dict[str, Any]]] = {"train": [], "unlabeled": []}
    for fact in findings.facts:
        if fact.part != TRAINING:
            lists.setdefault(fact.list_key, []).append(fact.item)
        elif fact.labelled:
            lists["train"].append(fact.item)
        else:
            lists["unlabeled"].append({k: v for k, v in fact.item.items() if k != "label"})
    labels = {key for key in lists if part_of(key) != TRAINING and all(item.get("label") for item in lists[key])}
    told = ""
    if not any(part_of(key) == "val" for key in labels):
        train = lists["train"]
        # whole patients, every fifth
        patients = list(dict.fromkeys(patient_of(item) for item in train))
        held = set(patients[::5]) if len(patients) >= HELD_OUT_FROM else set()
        lists["val"] = [item for item in train if patient_of(item) in held] or list(train)
        lists["train"] = [item for item in train if patient_of(item) not in held]
        told = (
            f"{len(lists['val'])} of {len(train)} labelled images are held out to validate on"
            if held
            else "no list to validate on, and too few labels to hold some out: the Dice on val is that of training"
        )
    return {key: items for key, items in lists.items() if items}, told


def patient_of(item: Mapping[str, Any]) -> str:
    """Whose image it is; each its own patient's where none is named."""
    return str(item.get("patient", item["image"]))


def write_bundle(plan: Plan, lists: Mapping[str, Sequence[Any]], folder: Path) -> Bundle:
    """Write the files of a bundle.

    Args:
        plan: the plan.
        lists: the bundle's own lists.
        folder: its folder; a training in it, and weights, stay.

    Returns:
        The bundle.

    Raises:
        ValueError: when the folder holds something else, or a training of other networks.
    """
    base = Bundle(find_bundle(BASES[plan["spatial_dims"], plan["channels"]]))
    if folder.exists() and any(folder.iterdir()) and not (folder / PLAN).is_file():
        raise ValueError(f"{folder} is not empty and no bundle that semgan new made: name another folder")
    if (folder / "runs").is_dir():
        before = read_plan(folder / PLAN)
        if changed := [f"{name} {short(before.get(name))}" for name in NETWORK if before.get(name) != plan[name]]:
            raise ValueError(
                f"{folder / 'runs'} holds a training with {', '.join(changed)}: remove it or name another folder"
            )
    configs = folder / "configs"
    configs.mkdir(parents=True, exist_ok=True)
    (folder / "docs").mkdir(exist_ok=True)
    shutil.copyfile(base.root / "LICENSE", folder / "LICENSE")
    (folder / "datalist.json").write_text(json.dumps(lists, indent=1) + "\n", encoding="utf-8")
    (folder / PLAN).write_text(plan.text(plan["name"]), encoding="utf-8")
    write_inference(plan, base, configs / "inference.yaml")
    write_settings(plan, base, lists, configs / "settings.yaml")
    metadata = new_metadata(plan, base)
    (configs / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    bundle = Bundle(folder)
    recipes.update(bundle)
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(recipes.FOLDER), trim_blocks=True, keep_trailing_newline=True)
    for template, file in (("new_README.md", "README.md"), ("new_data_license.txt", "data_license.txt")):
        target = folder / "docs" / file
        # what a person filled in stays
        if not target.is_file():
            text = environment.get_template(template).render(plan=plan.values, title=title(plan), lists=lists)
            target.write_text(text, encoding="utf-8")
    return bundle


def title(plan: Plan) -> str:
    """What the bundle is for, in words."""
    names = list(plan["classes"])
    return f"Segmentation of {', '.join(names) if len(names) <= 6 else f'{len(names)} classes'}"


def write_inference(plan: Plan, base: Bundle, path: Path) -> None:
    """Write inference.yaml."""
    header = (
        f"{title(plan)}. Run in the bundle's folder:\n"
        "  python -m monai.bundle run --config_file configs/inference.yaml --dataset_dir IN --output_dir OUT\n"
        f"Made by semgan new from {base.name} and {PLAN}."
    )
    pieces = plan["largest_components"]
    if isinstance(pieces, Mapping) and len(pieces) == 1:
        pieces = next(iter(pieces.values()))
    values: dict[str, Any] = {
        "_desc_": f"{title(plan)}: writes masks, overlays and a report",
        "classes": plan["classes"],
        "largest_components": pieces,
        "measurements": plan["measurements"],
        **{f"network_def::{key}": plan[key] for key in ("size", "channel_base", "channel_max", "latent_dim")},
    }
    comments = {"largest_components": plan.reasons["largest_components"]}
    if plan["spatial_dims"] == 3:
        low, high = plan["window"]
        window = {"level": (low + high) / 2, "width": high - low, "scale": "hu"}
        if plan["intensity"] == "window":
            values |= {f"steps::window::{key}": value for key, value in window.items()}
            values["steps::wide_window::scale"] = "hu"
        else:
            scaled = {"_target_": "monai.transforms.ScaleIntensityRangePercentilesd", "keys": "image", "lower": 0.5}
            scaled |= {"upper": 99.5, "b_min": -1.0, "b_max": 1.0, "clip": True}
            # files keep their own type until here
            whole = {"_target_": "monai.transforms.CastToTyped", "keys": "image", "dtype": "$np.float32"}
            values["steps::intensities"] = {"_target_": "monai.transforms.Compose", "transforms": [whole, scaled]}
        values["steps::fit_mri::fill"] = 1.0
        several = isinstance(pieces, Mapping) or pieces != 1
        values["inferer::smallest_piece"] = 0.0 if several else 0.05
        values["threshold"] = {"ct": 0.5, "mri": 0.5}
        comments["threshold"] = "probability from which a voxel is foreground, of one class"
    else:
        equalised = plan["intensity"] == "equalise" and plan["channels"] == 1
        chain = ["orient", "channels", *["frame"] * bool(plan["frame"]), "resize", "scale", *["equalise"] * equalised]
        values |= {
            "preparation::transforms": [f"@steps::{step}" for step in chain],
            "steps::scale::b_min": 0.0 if equalised else -1.0,
            "threshold": 0.5,
            # what headers say is not known of a new task
            "steps::read::reader::expected": {},
        }
        comments["threshold"] = "probability from which a pixel is foreground, of one class"
        if plan["channels"] == 3:
            flips = [[-1]] if plan["flip"] is True else []
            values["inferer::flips"] = flips
    text = edited(base.root / "configs" / "inference.yaml", values, header=header, comments=comments)
    path.write_text(text, encoding="utf-8")


def write_settings(plan: Plan, base: Bundle, lists: Mapping[str, Any], path: Path) -> None:
    """Write settings.yaml."""
    moved = {"scale": plan["scale"], "shift": plan["shift"], "rotate": plan["rotate"], "flip": plan["flip"]}
    # the population's own variation, which the generator learns, is less than what the others are to bear
    half = moved | {
        "scale": round(plan["scale"] / 2, 3),
        "shift": round(plan["shift"] / 2, 3),
        "rotate": plan["rotate"] / 2,
    }
    unlabelled = ["unlabeled"] if "unlabeled" in lists else []
    values: dict[str, Any] = {
        "_desc_": f"settings of {plan['name']}, by {PLAN}",
        "train_list": "train",
        "image_lists": [*unlabelled, "train"],
        **{f"{stage}::steps_per_epoch": steps for stage, steps in plan["steps_per_epoch"].items()},
        "gan::adaptation_images": plan["adaptation_images"],
        "encoder::fit_gradients": plan["fit_gradients"],
        "unet::readings": [{}],
        "encoder::rehearse": True,
    }
    values |= {f"gan::jitter::{key}": value for key, value in half.items()}
    for place in ("gan::augmentation", "gan::pair_augmentation"):
        values |= {f"{place}::rotate": plan["rotate"], f"{place}::flip": plan["flip"]}
    for place in ("unet::jitter", "encoder::jitter"):
        values |= {f"{place}::{key}": value for key, value in moved.items()}
    if plan["spatial_dims"] == 3:
        values |= {"unet::augmentation::curve": 0.35, "encoder::augmentation::curve": 0.35}
    else:
        mean_iou = ["mean_iou"] * (len(plan["classes"]) > 1)
        values["scores"] = ["dice", "iou", *mean_iou, "hausdorff95_mm", "hausdorff95_pixel"]
    header = (
        "What is this bundle's own in training and scoring. train_gan.yaml, train_encoder.yaml and evaluate.yaml,\n"
        'which all bundles share, take it from here: "%configs/settings.yaml::..."'
    )
    text = edited(base.root / "configs" / "settings.yaml", values, header=header)
    tests = [key for key in lists if part_of(key) == "test" and all(item.get("label") for item in lists[key])]
    vals = [key for key in lists if part_of(key) == "val" and all(item.get("label") for item in lists[key])]
    own = {"datalist": "datalist.json", "val_list": vals[0], "test_lists": tests, "hours": plan["hours"]}
    own |= {"shares": plan["shares"]}
    text += "\n# what semgan train takes where nothing else is said; the datalist lies in the bundle's folder\n"
    text += yaml.safe_dump({"training": own}, sort_keys=False)
    path.write_text(text, encoding="utf-8")


def new_metadata(plan: Plan, base: Bundle) -> dict[str, Any]:
    """Make the metadata, with gaps where only the user knows."""
    metadata = copy.deepcopy(base.metadata)
    names = list(plan["classes"])
    several = len(names) > 1
    shape = [plan["size"]] * 2
    metadata |= {
        "version": "0.1.0",
        "changelog": {"0.1.0": "made by semgan new"},
        "name": f"{title(plan)} (SemanticGAN)",
        "task": f"{title(plan)} in FILL IN: which images, of whom",
        "description": "A generative model of images and label maps, and a student of it and of a U-Net, trained with "
        "few labels and many unlabelled images.",
        "authors": "FILL IN",
        "copyright": "FILL IN",
        "data_source": "FILL IN: where the images and labels come from, and under which terms",
        "image_classes": f"{plan['channels']} channel{'s' if plan['channels'] > 1 else ''}, in [-1, 1]",
        "label_classes": ", ".join(f"{value} is {name}" for value, name in enumerate(names, 1)) + ", 0 is background",
        "pred_classes": "logits of background and of each class" if several else f"one channel, logit of {names[0]}",
        "eval_metrics": {},
        "intended_use": "Research. Not a medical device.",
        "coded_terms": {},
    }
    image, pred = metadata["network_data_format"]["inputs"]["image"], metadata["network_data_format"]["outputs"]["pred"]
    image |= {"modality": "FILL IN", "num_channels": plan["channels"]}
    channels = ["background", *names] if several else names
    pred |= {"num_channels": len(channels), "channel_def": {str(k): name for k, name in enumerate(channels)}}
    for place in (image, pred):
        place["spatial_shape"] = [*shape, *place["spatial_shape"][2:]]
    return metadata


def folder_name(folder: Path) -> str:
    """Name of a bundle by its folder."""
    return folder.resolve().name


@dataclass
class Made:
    """A new bundle.

    Attributes:
        bundle: the bundle.
        plan: what it was made by.
        told: what the user should know, line by line.
    """

    bundle: Bundle
    plan: Plan
    told: list[str]


def make(
    datalist: str | os.PathLike[str],
    folder: Path,
    *,
    root: str | os.PathLike[str] | None = None,
    hours: float | None = None,
    plan: str | os.PathLike[str] | None = None,
    train_list: str | None = None,
    lists: Sequence[str] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Made:
    """Make a bundle from a datalist.

    Args:
        datalist: JSON file with lists of items.
        folder: the bundle's folder.
        root: folder that the paths start from; by default the datalist's own.
        hours: time for training and evaluation; None for what a full schedule takes.
        plan: a plan that a person edited.
        train_list: list of the labelled images; by default the only one.
        lists: lists to take; by default all.
        tell: called with what is being done.

    Returns:
        The bundle, its plan and what to tell.

    Raises:
        FileNotFoundError: when a file does not exist.
        ValueError: when it cannot work; all errors of files are named.
    """
    path = Path(datalist)
    given = {} if plan is None else read_plan(plan)
    content = {key: value for key, value in read_content(path).items() if is_list_of_items(value)}
    for name in lists or ():
        if name not in content:
            raise ValueError(f"datalist {path} has no list {name!r}, there are {named_lists(content)}")
    chosen = {key: value for key, value in content.items() if lists is None or key in lists}
    if not chosen:
        raise ValueError(f'datalist {path} holds no list of {{"image": path}}')
    learned = choose_lists(chosen, path, train_list, given)
    tell("reading the images and labels")
    findings = check(path, root=root, lists=list(chosen), train_list=learned)
    if "classes" in given:
        if len(given["classes"]) != len(findings.classes):
            raise ValueError(f"the plan names {len(given['classes'])} classes, labels hold {len(findings.classes)}")
        findings.classes = list(given["classes"])
    if not findings.ready:
        problems = findings.problems()
        more = f"\nand {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ValueError(
            "\n".join(["this cannot be trained:", *problems[:20]]) + more + f"\nsemgan check {path} shows all"
        )
    own_lists, held = lists_of(findings)
    name = folder_name(folder)
    told = [f"labels: {held}"] if held else []
    first = make_plan(findings, learned, name=name, hours=hours, given=given)
    speeds: dict[int, dict[str, float]] = {}
    if given.get("size") == first["size"] and given.get("seconds_per_step"):
        speeds = {first["size"]: given["seconds_per_step"]}
    else:
        tell("measuring the speed of this machine")
        few = {key: items[:4] for key, items in own_lists.items() if key in ("train", "unlabeled")}
        few.setdefault("unlabeled", [{k: v for k, v in item.items() if k != "label"} for item in few["train"]])
        with tempfile.TemporaryDirectory() as temporary:
            # a bundle of any size, to measure with
            trial = write_bundle(first, own_lists, Path(temporary) / "trial").root
            speeds = measured(trial, first, hours, given, few)
    result = make_plan(findings, learned, name=name, hours=hours, given=given, speeds=speeds)
    bundle = write_bundle(result, own_lists, folder)
    if hours is None and "hours" not in given:
        told += ["no --hours were given; what each size would cost on this machine:", *costs(findings, speeds)]
    warnings = sum(len(fact.warnings) for fact in findings.facts) + len(findings.warnings)
    if warnings:
        told.append(f"{warnings} warnings of the images: semgan check {path} shows them")
    told += [
        f"{key}: {short(result[key])}  ({result.reasons[key]})" for key in ("classes", "size", "intensity", "hours")
    ]
    told.append(f"all choices and their reasons: {folder / PLAN}")
    told.append(f"next: semgan train {folder}")
    return Made(bundle, result, told)


def measured(
    trial: Path, plan: Plan, hours: float | None, given: Mapping[str, Any], few: Mapping[str, Any]
) -> dict[int, dict[str, float]]:
    """Measure the sizes that come into question, from the smallest on until one is too slow for the hours."""
    most = given.get("size") or max(plan["size"], 128)
    sizes = [given["size"]] if "size" in given else [size for size in WIDTHS if size <= most]
    # the first plan's is at most what the images have
    sizes = [size for size in sizes if size <= plan["size"]] or sizes
    if len(sizes) > 1 and (hours is None or hours > 0.1):
        sizes = [size for size in sizes if size > min(WIDTHS)]
    speeds: dict[int, dict[str, float]] = {}
    for size in sizes:
        speeds |= measure_speeds(trial, [size], few)
        # the next is four times as slow
        if hours is not None and gan_steps(hours, speeds[size]) < 4 * FEWEST_FOR_STRUCTURE:
            break
    return speeds
