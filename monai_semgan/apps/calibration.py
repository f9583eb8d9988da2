# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""From the confidence of masks to their Dice: what a bundle predicts of masks without a label.

``semgan calibrate lung_xray DATALIST --list val``

The images of a labelled list, and copies of them that are harder to segment, are segmented and scored. A rising curve
is fitted to confidence and Dice of all, and a split-conformal interval (Vovk et al. 2005) around it.
"""

from __future__ import annotations

import csv
import logging
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.utils import CommonKeys as Keys
from monai.utils import convert_to_tensor
from scipy.optimize import isotonic_regression
from scipy.stats import spearmanr

from monai_semgan.bundle import Bundle, parsed
from monai_semgan.data.cohort import FAILURE
from monai_semgan.handlers.checkpoints import save_whole
from monai_semgan.metrics import slice_dice
from monai_semgan.networks.nets.dice_calibration import KNOTS, DiceCalibration, slice_confidences
from monai_semgan.networks.nets.domain_check import DomainCheck, some_slices
from monai_semgan.networks.weights import read_state
from monai_semgan.predictor import Prediction, Predictor
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation

logger = logging.getLogger(__name__)

# labelled images at least
FEWEST = 10
FILES = ("inference.yaml", "evaluate.yaml")
# synthetic failures: other exposures, other scanners, up to what nobody could read; the label stays where it is
HARDER: dict[str, Any] = {"curve": 1.0, "brightness": 0.6, "contrast": 1.5, "shading": 0.8, "blur": 4.0, "noise": 0.8}


def measure(
    bundle: Bundle, datalist: str | os.PathLike[str], list_key: str, *, copies: int = 8, seed: int = 0, **settings: Any
) -> list[dict[str, Any]]:
    """Segment a labelled list and copies of it that are harder, and score them.

    Args:
        bundle: the bundle, with weights.
        datalist: JSON file with the list.
        list_key: its name.
        copies: harder copies of each image.
        seed: seed of what is done to them.
        settings: of the bundle's configs by id.

    Returns:
        For each image and copy "file", "copy" (0 is the image as it is), "confidence" and "dice"; of a volume also
        "slices", confidence and Dice of each.

    Raises:
        ValueError: when no image could be scored, or the bundle's scores lack Dice.
    """
    parser = bundle.parser(*FILES, datalist=datalist, list_key=list_key, **settings)
    parsed(parser, "weights")
    predictor: Predictor = parsed(parser, "predictor")
    dataset = parsed(parser, "dataset")
    orient = parser.get_parsed_content("steps::orient") if bundle.spatial_dims > 2 else None
    rows: list[dict[str, Any]] = []
    harder = DifferentiableAugmentation(p=0.5, **HARDER)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for index in range(len(dataset)):
            item = dataset[index]
            if FAILURE in item:
                logger.warning("%s is left out: %s", item.get("file"), item[FAILURE])
                continue
            items = [item] + [{**item, Keys.IMAGE: changed(item[Keys.IMAGE], harder)} for _ in range(copies)]
            for copy, prediction in enumerate(predictor.predict(items)):
                rows += [scored(prediction, copy, orient)] if prediction.failure is None else []
    if not rows:
        raise ValueError(f"no image of list {list_key} in {datalist} could be scored")
    return rows


def changed(image: torch.Tensor, augmentation: DifferentiableAugmentation) -> torch.Tensor:
    """Change the intensities of an image ``(C, S, S)``, or of each slice of a volume; its metadata stay."""
    slices = image.movedim(-1, 0) if image.ndim == 4 else image[None]
    result = image.clone()
    found = augmentation(slices.as_subclass(torch.Tensor).float())[0].clamp(-1, 1)
    result.copy_(found.movedim(0, -1) if image.ndim == 4 else found[0])
    return result


def scored(prediction: Prediction, copy: int, orient: Callable[[dict[str, Any]], Any] | None = None) -> dict[str, Any]:
    """The row of a prediction with its label; ``orient`` brings a volume's slices to the network's order."""
    if "dice" not in prediction.scores:
        raise ValueError(f"the bundle scores {sorted(prediction.scores)}: add dice to scores in configs/settings.yaml")
    dice = float(prediction.scores["dice"])
    return {
        "file": prediction.item["file"],
        "copy": copy,
        "confidence": prediction.confidence,
        # a label and a mask that are both empty agree
        "dice": 1.0 if math.isnan(dice) else dice,
        **({} if orient is None else {"slices": slices(prediction, orient)}),
    }


def slices(prediction: Prediction, orient: Callable[[dict[str, Any]], Any]) -> list[tuple[float, float]]:
    """Confidence and Dice of each slice of a volume; two empty masks agree."""
    grid = prediction.mask
    values = (convert_to_tensor(each, track_meta=False).reshape(1, *grid.shape) for each in (grid, prediction.label))
    upright = (orient({Keys.IMAGE: MetaTensor(each, affine=grid.affine)})[Keys.IMAGE][0].numpy() for each in values)
    dice = np.nan_to_num(slice_dice(*upright), nan=1.0)
    return list(zip(slice_confidences(prediction.logits), dice.tolist(), strict=True))


def fit(confidence: Sequence[float], dice: Sequence[float], coverage: float = 0.9) -> DiceCalibration:
    r"""Fit curve and interval.

    The curve is the isotonic regression of Dice on confidence, taken evenly up to the median, and at quantiles above.
    The margins are quantiles of :math:`(d - \hat d) / (1.01 - \hat d)`, which leave out the same share on both sides,
    of rank :math:`\lceil (n + 1) q \rceil`. Masks of confidence 1, slices with nothing near, have none.

    Args:
        confidence: confidence of each mask.
        dice: its Dice.
        coverage: share of masks whose Dice is to lie in the interval.

    Raises:
        ValueError: when all masks have the same confidence.
    """
    c, d = np.asarray(confidence, float), np.asarray(dice, float)
    order = np.argsort(c, kind="stable")
    rising = isotonic_regression(d[order]).x
    different = np.unique(c)
    # few masks are bad, and the curve is long there
    evenly, half = np.linspace(different[0], np.median(different), KNOTS // 2 + 1), np.linspace(0.5, 1, KNOTS // 2)
    at = np.concatenate([evenly, np.quantile(different, half)[1:]])
    if at[0] == at[-1]:
        raise ValueError(f"all masks have the confidence {c[0]:.3f}: is this network trained?")
    knots = np.stack([at, np.interp(at, c[order], rising)], axis=1).clip(0, 1)
    predicted = np.interp(c, *knots.T)
    errors = np.sort(((d - predicted) / (1.01 - predicted))[c < 1])
    rank = min(len(errors), math.ceil((len(errors) + 1) * (1 + coverage) / 2)) - 1
    calibration = DiceCalibration()
    calibration.fit(knots.tolist(), [max(0.0, -errors[::-1][rank]), max(0.0, errors[rank])])
    return calibration


def learn_domain(
    bundle: Bundle,
    datalist: str | os.PathLike[str],
    lists: Sequence[str],
    *,
    weights: str | os.PathLike[str],
    most: int = 2000,
    seed: int = 0,
    **settings: Any,
) -> DomainCheck | None:
    """Let weights know images of the kind that they are for, and write what they know into their file.

    Half of the images, and copies of each that are harder to read, as the U-Net is trained on, say what varies. The
    others, as they are, say what is usual: 98 of 100. Of volumes, slices are known. ``domain`` in the bundle's
    ``settings.yaml`` has the number of copies, the grid, and how much further an image may be.

    Args:
        bundle: the bundle, with a student.
        datalist: JSON file with the lists.
        lists: names of lists of images, whose labels are not read.
        weights: the file; it is replaced in one piece.
        most: images at most, drawn from all.
        seed: seed of the draw and of the copies.
        settings: of the bundle's configs by id.

    Returns:
        What was fitted; None for weights without a student.

    Raises:
        ValueError: for too few images.
    """
    network, images = None, []
    for name in lists:
        parser = bundle.parser(
            "inference.yaml", datalist=datalist, list_key=name, insist=True, ckpt_path=weights, **settings
        )
        if network is None:
            parsed(parser, "weights")
            network = parsed(parser, "network").eval()
            if getattr(network, "domain", None) is None:
                return None
        dataset = parsed(parser, "dataset")
        drawn = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[: most // len(lists)]
        items = (dataset[index] for index in drawn.tolist())
        images += [item[Keys.IMAGE].as_tensor().float() for item in items if FAILURE not in item]
    if network is None or len(images) < FEWEST:
        raise ValueError(f"{len(images)} images are too few to know their kind: give lists of at least {FEWEST}")
    training = ConfigParser(bundle.read("settings.yaml")["unet"])
    harder = [training.get_parsed_content(name) for name in ("jitter", "augmentation")]
    domain, student = network.domain, network.student
    chosen = {"grid": 2, "copies": 2, "margin": 1.0} | bundle.read("settings.yaml").get("domain", {})
    learned, usual = [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for place, index in enumerate(torch.randperm(len(images)).tolist()):
            seen = some_slices(images[index]) if images[index].ndim > 3 else images[index][None]
            if place % 2:
                usual.append(domain.features(student, seen, chosen["grid"]))
                continue
            copies = [harder[1](harder[0](seen)[0])[0].clamp(-1, 1) for _ in range(chosen["copies"])]
            learned.append(domain.features(student, torch.cat([seen, *copies]), chosen["grid"]))
    domain.fit(torch.cat(learned), usual, margin=chosen["margin"])
    state = read_state(weights)
    save_whole(state | domain.state_dict(prefix="domain."), Path(weights))
    logger.info("%d images say what is usual, at a distance of %.1f: %s", len(images), float(domain.limit), weights)
    return domain


def calibrate(
    bundle: Bundle,
    datalist: str | os.PathLike[str],
    list_key: str,
    *,
    weights: str | os.PathLike[str],
    table: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> DiceCalibration:
    """Calibrate weights on a labelled list that they were not trained on, and write the result into their file.

    Weights for volumes are calibrated for whole volumes and for their slices.

    Args:
        bundle: the bundle.
        datalist: JSON file with the list.
        list_key: its name.
        weights: the file; it is replaced in one piece.
        table: CSV file for a row of each image and copy.
        settings: see :func:`measure`.

    Returns:
        What was fitted, to whole images or volumes.

    Raises:
        ValueError: when there are too few images.
    """
    rows = measure(bundle, datalist, list_key, ckpt_path=weights, **settings)
    confidence, dice = [row["confidence"] for row in rows], [row["dice"] for row in rows]
    if (images := sum(row["copy"] == 0 for row in rows)) < FEWEST:
        raise ValueError(f"{images} labelled images are too few for an interval: give a list of at least {FEWEST}")
    found = fit(confidence, dice)
    if table is not None:
        with Path(table).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [name for name in rows[0] if name != "slices"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    state = read_state(weights) | found.state_dict(prefix="calibration.")
    if each := [pair for row in rows for pair in row.get("slices", ())]:
        of_slices = fit([pair[0] for pair in each], [pair[1] for pair in each])
        state |= of_slices.state_dict(prefix="slice_calibration.")
    save_whole(state, Path(weights))
    predicted = [quality.dice for value in confidence if (quality := found.predict(value)) is not None]
    logger.info(
        "%d images and copies: Spearman of predicted and true Dice %.2f, mean absolute error %.3f: %s",
        len(rows),
        spearmanr(confidence, dice).statistic,
        np.abs(np.subtract(predicted, dice)).mean(),
        weights,
    )
    return found
