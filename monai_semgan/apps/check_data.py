# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What is wrong with the images and labels of a datalist, before anything is trained.

``semgan check DATALIST``

Every file is read once; what one has does not hide the others. The same facts make the fingerprint of
:mod:`monai_semgan.apps.new_bundle`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.utils import convert_to_tensor
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from monai_semgan.data.cohort import failure_reason
from monai_semgan.formats import registry
from monai_semgan.metrics.measurements import spacing
from monai_semgan.reports.overlay import black_and_white, outline, to_rgb
from monai_semgan.transforms.display import ContentFrame, DisplayOrder
from monai_semgan.transforms.label import SameGridd
from monai_semgan.transforms.scores import axial

# parts that no patient may share; all lists of other names are of the training
PARTS = ("val", "test")
TRAINING = "train"
# values of labels beyond which they are grey levels and no indices of classes
MOST_CLASSES = 60
# a class occurs in this share of the labels at least, where there are enough of them
CLASS_SHARE = 0.05
# side of the images that are compared, and their correlation, without what is coarse, from which two are nearly alike
COMPARED, ALIKE = 32, 0.98
# a class with its number in a text
NUMBERED = re.compile(r"(?<![\w.])(\d{1,2})[:=]? ([A-Za-z][A-Za-z -]*)(?=[,;.]|$)")
# longer side of a picture of the contact sheet
TILE = 200
# pieces of a class larger than this share of its largest are counted
PIECE = 0.05
# colours of classes, from 1 on; they repeat
COLOURS = (
    (255, 128, 0), (0, 200, 120), (230, 60, 60), (90, 140, 255), (250, 220, 50), (200, 90, 230), (0, 210, 230),
    (160, 110, 60), (255, 150, 190), (150, 220, 60), (120, 100, 220), (240, 170, 100), (60, 160, 140), (200, 200, 200),
    (170, 50, 110), (110, 170, 230), (210, 230, 150), (130, 130, 0), (255, 90, 140), (90, 210, 170),
)  # fmt: skip


@dataclass
class Shape:
    """What a class looks like in one label.

    Attributes:
        pixels: its pixels, or voxels.
        pieces: connected pieces that are not small beside the largest.
        centre: its centre, row and column, as shares of the sides.
        side: square root of its area, as a share of the square root of the image's.
        angle: direction of its longer axis in degrees, from -90 to 90; NaN where it has none.
        thickness: twice the largest distance of a pixel to its border, as a share of the image's longer side.
    """

    pixels: int
    pieces: int
    centre: tuple[float, float]
    side: float
    angle: float
    thickness: float


@dataclass
class Facts:
    """What is known of an image and its label.

    Attributes:
        list_key: list of the datalist; the first, where the same item is in several of the training.
        item: its item, paths made absolute.
        file: the path as the datalist has it.
        errors: what forbids to train with it.
        warnings: what should be looked at.
        shape: rows, columns (and slices), as it is displayed.
        spacing: millimetres a pixel along them; None if not known.
        channels: 1 for grey, also where it is stored as three equal channels, else 3.
        stored_channels: channels of the file.
        low, high, least, greatest: 0.5th and 99.5th percentile, least and greatest value.
        dark: share of pixels at the least value.
        values: pixels of each value of its label, background included; None without a label.
        shapes: of each class.
        mean_mask: the label small, ``(classes, 32, 32)`` by value.
        foreground: percentiles of the image below the label: 0.5, 50, 99.5.
        framed_out: share of the foreground outside of what is taken for the picture.
        digest: of its pixels.
        small: the image for comparison, z-scored, without its coarse part.
        tile: RGB picture with outlines.
    """

    list_key: str
    item: dict[str, Any]
    file: str
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] | None = None
    channels: int = 0
    stored_channels: int = 0
    low: float = 0.0
    high: float = 0.0
    least: float = 0.0
    greatest: float = 0.0
    dark: float = 0.0
    values: dict[int, int] | None = None
    shapes: dict[int, Shape] = field(default_factory=dict)
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    foreground: tuple[float, ...] = ()
    framed_out: float = 0.0
    digest: str = ""
    small: np.ndarray | None = None
    tile: np.ndarray | None = None

    @property
    def part(self) -> str:
        """Part of the data: "train", "val" or "test"."""
        return part_of(self.list_key)

    @property
    def labelled(self) -> bool:
        """Whether it has a label, which may be wrong."""
        return bool(self.item.get("label"))


@dataclass
class Findings:
    """What was found in a datalist.

    Attributes:
        datalist: its path.
        spatial_dims: 2 for images, 3 for volumes.
        facts: of each image.
        errors: what forbids to train, of no single file.
        warnings: what should be looked at, of no single file.
        classes: names of the classes, that of the value 1 first; of one class any value other than 0 is it.
        description: what the datalist says of itself, by key.
    """

    datalist: Path
    spatial_dims: int
    facts: list[Facts]
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    description: dict[str, Any] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether training can go on."""
        return not self.errors and not any(fact.errors for fact in self.facts)

    def problems(self) -> list[str]:
        """All errors, each with its list and file."""
        return [*self.errors, *(f"{f.list_key}: {f.file}: {text}" for f in self.facts for text in f.errors)]

    def lists(self) -> dict[str, list[Facts]]:
        """The facts by list."""
        lists: dict[str, list[Facts]] = defaultdict(list)
        for fact in self.facts:
            lists[fact.list_key].append(fact)
        return dict(lists)


def part_of(list_key: str) -> str:
    """Tell by its name whether a list is to be validated or tested on; all others are of the training."""
    words = list_key.lower()
    return next((part for part in ("test", "val") if part in words), TRAINING)


def check(
    datalist: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    lists: Sequence[str] | None = None,
    train_list: str | None = None,
) -> Findings:
    """Read all images and labels of a datalist and find out what is wrong.

    Args:
        datalist: JSON file of lists of {"image": path, "label": path}. "classes" may name the classes, from background
            on or from the value 1 on.
        root: folder that its paths start from; by default the datalist's own.
        lists: names of the lists to look at; all by default.
        train_list: list of the labels that will be learned; those of other lists of the training are then not read.

    Returns:
        What was found.

    Raises:
        FileNotFoundError: when the datalist or the folder does not exist.
        ValueError: when it is no datalist, or has no such list.
    """
    path = Path(datalist)
    content = read_content(path)
    base = Path(root) if root is not None else path.parent
    if not base.is_dir():
        raise FileNotFoundError(f"folder {base}, which the datalist's paths start from, does not exist")
    found = {key: value for key, value in content.items() if is_list_of_items(value)}
    if not found:
        raise ValueError(f'datalist {path} holds no list of {{"image": path}}')
    for name in [*(lists or ()), *([train_list] if train_list else ())]:
        if name not in found:
            raise ValueError(f"datalist {path} has no list {name!r}, there are {named_lists(found)}")
    chosen = {key: value for key, value in found.items() if lists is None or key in lists}
    # the list whose labels count comes first, and is not looked at again in others of the training
    order = sorted(chosen, key=lambda key: (key != train_list, part_of(key) != TRAINING))
    facts: list[Facts] = []
    seen: dict[tuple[str, str], Facts] = {}
    for key in order:
        for entry in chosen[key]:
            item = absolute(entry, base)
            if part_of(key) == TRAINING and train_list not in (None, key):
                item.pop("label", None)
            fact = Facts(key, item, str(entry.get("image", entry)) if isinstance(entry, Mapping) else str(entry))
            known = seen.get((part_of(key), str(item.get("image"))))
            # nested lists of the training are one
            if known is not None and part_of(key) == TRAINING and (known.labelled or not fact.labelled):
                continue
            if known is not None and part_of(key) == TRAINING:
                facts.remove(known)
            seen[part_of(key), str(item.get("image"))] = fact
            facts.append(fact)
    names = class_names(content.get("classes") or content.get("labels"))
    findings = Findings(path, spatial_dims_of(facts), facts, classes=names)
    findings.description = {k: v for k, v in content.items() if isinstance(v, str)}
    hidden = not sys.stderr.isatty()
    for fact in tqdm(facts, desc="reading", unit=" images", disable=hidden, dynamic_ncols=True):
        inspect(fact, findings.spatial_dims)
    judge_labels(findings)
    judge_lists(findings)
    return findings


def read_content(path: Path) -> dict[str, Any]:
    """Read a datalist.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: when it is no JSON object.
    """
    if not path.is_file():
        raise FileNotFoundError(f"datalist {path} does not exist")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"datalist {path} is no JSON ({error}): write lists of items by name") from error
    if not isinstance(content, dict):
        raise ValueError(f"datalist {path} is no JSON object: write lists of items by name")
    return content


def is_list_of_items(value: Any) -> bool:
    """Tell a list of images from other content."""
    return isinstance(value, list) and any(isinstance(item, Mapping) and "image" in item for item in value)


def named_lists(lists: Mapping[str, Sequence[Any]]) -> str:
    """Name lists with what they hold."""
    return ", ".join(
        f"{key} ({len(items)} images, {sum(bool(i.get('label')) for i in items if isinstance(i, Mapping))} labels)"
        for key, items in lists.items()
    )


def class_names(declared: Any) -> list[str]:
    """Names of the classes from the value 1 on, as a datalist may give them: a list, or names by value."""
    if isinstance(declared, Mapping):
        pairs = [(k, v) if str(k).isdigit() else (v, k) for k, v in declared.items()]
        declared = [str(name) for _, name in sorted(pairs, key=lambda pair: int(pair[0]))]
    if not isinstance(declared, list) or not all(isinstance(name, str) for name in declared):
        return []
    return [name for name in declared if name.lower() != "background"]


def described_names(text: str, number: int) -> list[str]:
    """Names of classes that a description numbers, such as "1 right lung, 2 left lung"; none where it does not."""
    found = {int(value): name.strip() for value, name in NUMBERED.findall(text)}
    return [found[value] for value in range(1, number + 1)] if set(range(1, number + 1)) <= set(found) else []


def absolute(entry: Any, base: Path) -> dict[str, Any]:
    """Make the paths of an item absolute."""
    item = dict(entry) if isinstance(entry, Mapping) else {}
    for key in ("image", "label"):
        if isinstance(item.get(key), str):
            item[key] = str((base / item[key]).absolute())
    return item


def spatial_dims_of(facts: Iterable[Facts]) -> int:
    """Tell images from volumes, by the first that can be read; 2 where none can."""
    for fact in facts:
        for dims in (2, 3):
            try:
                image = registry.read(fact.item["image"], dims)
            except Exception:
                continue
            if dims == 2 or image.shape[-1] > 1:
                return dims
    return 2


def inspect(fact: Facts, spatial_dims: int) -> None:
    """Read an image and its label; whatever is wrong is put into the facts."""
    if not isinstance(fact.item.get("image"), str):
        fact.errors.append('its item is no {"image": path}')
        return
    try:
        image = registry.read(fact.item["image"], spatial_dims)
    except Exception as error:
        fact.errors.append(f"image cannot be read: {failure_reason(error)}")
        image = None
    label = None
    if fact.labelled:
        try:
            label = read_label(fact.item["label"], spatial_dims)
        except Exception as error:
            fact.errors.append(f"label cannot be read: {failure_reason(error)}")
    if image is None:
        return
    fits = label is not None
    if label is not None:
        try:
            label = SameGridd("label")({"image": image, "label": label})["label"]
        except ValueError as error:
            fact.errors.append(f"label does not fit: {error}")
            fits = False
    try:
        describe(fact, image, label if fits else None, spatial_dims)
    except Exception as error:
        fact.errors.append(f"cannot be looked at: {failure_reason(error)}")


def read_label(path: str, spatial_dims: int) -> MetaTensor:
    """Read a label of class indices, ``(1, ...)``.

    Raises:
        ValueError: when it cannot be read, holds colours, or values that are no whole numbers from 0 on.
    """
    label = registry.read(path, spatial_dims, label=True, indices=True)
    if len(label) > 1:
        values = label.as_tensor()
        if not (values == values[:1]).all():
            raise ValueError(f"{Path(path).name} holds colours: store the index of its class in each pixel")
        label = MetaTensor(values[:1], meta=label.meta)
    array = convert_to_tensor(label, track_meta=False)
    if (array < 0).any() or (array != array.round()).any():
        raise ValueError(
            f"{Path(path).name} holds values from {float(array.min()):g} to {float(array.max()):g} that are no indices "
            "of classes: whole numbers from 0 on are expected"
        )
    return label


def describe(fact: Facts, image: MetaTensor, label: MetaTensor | None, spatial_dims: int) -> None:
    """Put what the fingerprint needs of an image and its label into the facts."""
    known = spacing(image, spatial_dims)
    values = image.as_tensor()
    fact.digest = hashlib.sha256(np.ascontiguousarray(values.numpy()).tobytes()).hexdigest()
    turned = upright(image, spatial_dims)
    fact.stored_channels = len(turned)
    fact.channels = 1 if len(turned) == 1 or all((turned[:1] == turned[k : k + 1]).all() for k in (1, 2)) else 3
    pixels = turned[: fact.channels].astype(np.float32)
    fact.shape = tuple(pixels.shape[1:])
    if known is not None:
        swapped = fact.shape[:2] != tuple(values.shape[1:3])
        fact.spacing = tuple(float(v) for v in (known[[1, 0, *range(2, len(known))]] if swapped else known))
    sample = pixels.reshape(len(pixels), -1)[:, :: max(1, pixels[0].size // 200_000)]
    fact.low, fact.high = (float(v) for v in np.percentile(sample, [0.5, 99.5]))
    fact.least, fact.greatest = float(sample.min()), float(sample.max())
    fact.dark = float((sample.mean(0) <= fact.least + 0.02 * (fact.high - fact.least)).mean())
    mask = None
    if label is not None:
        mask = upright(label, spatial_dims)[0].astype(np.int64)
        found, counts = np.unique(mask, return_counts=True)
        fact.values = {int(v): int(n) for v, n in zip(found, counts)}
        describe_label(fact, pixels, mask, spatial_dims)
        if spatial_dims == 2:
            fact.framed_out = outside_frame(image, mask)
    # of a volume the slice with most foreground, or the middle one
    if spatial_dims == 3:
        number = int((mask > 0).sum((0, 1)).argmax()) if mask is not None and mask.any() else pixels.shape[-1] // 2
        pixels, mask = pixels[..., number], None if mask is None else mask[..., number]
    fact.small = comparable(pixels)
    fact.tile = tile_of(pixels, mask)


def upright(image: MetaTensor, spatial_dims: int) -> np.ndarray:
    """Values ``(C, row, column)`` or ``(C, row, column, slice)`` as they are displayed."""
    if spatial_dims == 2:
        return np.asarray(convert_to_tensor(DisplayOrder()(image), track_meta=False).numpy())
    return np.asarray(convert_to_tensor(axial(image), track_meta=False).numpy())


def describe_label(fact: Facts, pixels: np.ndarray, mask: np.ndarray, spatial_dims: int) -> None:
    """Shapes of the classes of a label; of a volume in its slices."""
    below = pixels.mean(0)[mask > 0]
    if below.size:
        fact.foreground = tuple(float(v) for v in np.percentile(below, [0.5, 50, 99.5]))
    for value in [v for v in (fact.values or {}) if v > 0][:MOST_CLASSES]:
        own = mask == value
        pieces, number = ndimage.label(own, np.ones((3,) * own.ndim))
        sizes = np.bincount(pieces.ravel())[1:]
        number = int((sizes > PIECE * sizes.max()).sum())
        plane = own if spatial_dims == 2 else own[..., int(own.sum((0, 1)).argmax())]
        rows, columns = np.nonzero(plane)
        height, width = plane.shape
        cloud = np.stack([rows - rows.mean(), columns - columns.mean()])
        lengths, axes = np.linalg.eigh(cloud @ cloud.T / len(rows) + 1e-9 * np.eye(2))
        axis = axes[:, 1] * np.sign(axes[1, 1] or 1)
        angle = float(np.degrees(np.arctan2(axis[0], axis[1]))) if lengths[1] > 1.5 * lengths[0] else float("nan")
        depth = ndimage.distance_transform_edt(np.pad(plane, 1)).max()
        fact.shapes[value] = Shape(
            pixels=int(own.sum()),
            pieces=number,
            centre=(float((rows.mean() + 0.5) / height), float((columns.mean() + 0.5) / width)),
            side=float(np.sqrt(len(rows) / plane.size)),
            angle=angle,
            thickness=float(2 * depth / max(plane.shape)),
        )
        fact.masks[value] = shrunk(plane.astype(np.float32))


def shrunk(plane: np.ndarray) -> np.ndarray:
    """Resize ``(row, column)`` to 32 x 32 by averaging."""
    picture = Image.fromarray(plane.astype(np.float32))
    return np.asarray(picture.resize((COMPARED, COMPARED), Image.Resampling.BOX), np.float32)


def outside_frame(image: MetaTensor, mask: np.ndarray) -> float:
    """Share of the foreground that lies outside of what is taken for the picture, see ``ContentFrame``."""
    if not mask.any():
        return 0.0
    framed = ContentFrame()(DisplayOrder()(image))
    assert isinstance(framed, MetaTensor)
    top, bottom, left, right = framed.meta["frame"]
    return 1.0 - float((mask[top:bottom, left:right] > 0).sum() / (mask > 0).sum())


def comparable(pixels: np.ndarray) -> np.ndarray | None:
    """An image ``(C, row, column)`` as a vector that tells it from others of its kind; None of a flat one."""
    small = shrunk(pixels.mean(0))
    detail = small - ndimage.gaussian_filter(small, 3)
    norm = np.linalg.norm(detail)
    return None if norm < 1e-6 else (detail / norm).ravel()


def tile_of(pixels: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Draw an image small, with the outlines of its label."""
    height, width = pixels.shape[1:]
    scale = TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = to_rgb(pixels, *black_and_white(pixels), size)
    if mask is None:
        return picture
    values = [v for v in np.unique(mask) if v > 0][:MOST_CLASSES]
    return outline(picture, [(mask == v, colour_of(v if len(values) > 1 or v < MOST_CLASSES else 1)) for v in values])


def colour_of(value: int) -> tuple[int, int, int]:
    """Colour of the class of a value."""
    return COLOURS[(int(value) - 1) % len(COLOURS)]


def judge_labels(findings: Findings) -> None:
    """Find the classes, and labels that do not fit them."""
    labelled = [fact for fact in findings.facts if fact.values is not None]
    if not labelled:
        return
    foreground = [{v for v in fact.values or () if v > 0} for fact in labelled]
    occurs = Counter(v for values in foreground for v in values)
    several = sum(len(values) > 1 for values in foreground)
    names = findings.classes
    if names and len(names) > 1:
        number = len(names)
    elif not occurs:
        number = max(1, len(names))
    elif (several <= 0.1 * len(labelled) and (len(occurs) == 1 or max(occurs) > MOST_CLASSES)) or len(names) == 1:
        number = 1
    else:
        enough = max(1, min(2, len(labelled) - 1), CLASS_SHARE * len(labelled))
        number = max((v for v, n in occurs.items() if n >= enough and v <= MOST_CLASSES), default=1)
    if not names:
        named = described_names(findings.description.get("description", ""), number)
        numbered = named or [f"class_{value}" for value in range(1, number + 1)]
        findings.classes = ["foreground"] if number == 1 else numbered
    for fact, values in zip(labelled, foreground):
        if number == 1:
            if len(values) > 1:
                fact.errors.append(
                    f"label holds {len(values) + 1} values ({shortened(values)}), 0 and one other are expected: shades "
                    "at borders come from JPEG or resizing, save masks without loss"
                )
        elif wrong := sorted(v for v in values if v > number):
            fact.errors.append(f"label holds {shortened(wrong)}, the classes are 1 to {number}: correct it")
        if not values:
            fact.warnings.append("label has no foreground")
    if not occurs:
        findings.errors.append("no label has any foreground: are these the right files?")
    elif number > 1 and (missing := [v for v in range(1, number + 1) if v not in occurs]):
        told = ", ".join(f"{v} ({findings.classes[v - 1]})" for v in missing)
        findings.errors.append(
            f"classes that occur in no label: {told}. Number classes without gaps, or drop the names"
        )
    elif number > 1:
        learned = {v for fact in labelled if fact.part == TRAINING for v in fact.shapes}
        if any(fact.part == TRAINING for fact in labelled) and (
            missing := [v for v in range(1, number + 1) if v not in learned]
        ):
            told = ", ".join(f"{v} ({findings.classes[v - 1]})" for v in missing)
            findings.errors.append(f"classes that occur in no label of the training: {told}")


def shortened(values: Iterable[int]) -> str:
    """Name a few of many values."""
    ordered = sorted(values)
    return ", ".join(map(str, ordered[:6])) + (", ..." if len(ordered) > 6 else "")


def judge_lists(findings: Findings) -> None:
    """Find what lists share that they may not, images nearly alike, and mixtures."""
    facts = findings.facts
    read = [fact for fact in facts if fact.shape]
    training = [fact for fact in read if fact.part == TRAINING]
    if len(training) == 1 and len(facts) > 0:
        findings.errors.append(f"one image only for the training, {training[0].file}: it needs 2 at least, better 100")
    if not any(fact.labelled for fact in facts if fact.part == TRAINING):
        findings.errors.append(f"no labelled image for the training, there are {named_facts(findings)}")
    patients: dict[str, dict[str, Facts]] = defaultdict(dict)
    for fact in facts:
        if fact.item.get("patient") is not None:
            patients[str(fact.item["patient"])].setdefault(fact.part, fact)
    for patient, parts in patients.items():
        if len(parts) > 1:
            where = " and ".join(f"{fact.list_key} ({fact.file})" for fact in parts.values())
            findings.errors.append(f"patient {patient} is in {where}: keep a patient in one of them")
    same: dict[str, list[Facts]] = defaultdict(list)
    for fact in read:
        same[fact.digest].append(fact)
    for group in same.values():
        first = group[0]
        for other in group[1:]:
            between = first.part != other.part
            text = f"is the same image as {other.list_key}: {other.file}"
            (first.errors if between else first.warnings).append(text + (": take it out of one" if between else ""))
    for one, other, value in alike(read):
        if one.digest != other.digest:
            one.warnings.append(f"is nearly the same as {other.list_key}: {other.file} (correlation {value:.3f})")
    colour = Counter(fact.channels for fact in read)
    if len(colour) > 1:
        rare = min(colour, key=lambda channels: colour[channels])
        few = [fact.file for fact in read if fact.channels == rare]
        findings.warnings.append(
            f"grey and colour images are mixed: {colour[1]} grey, {colour[3]} in colour, such as {', '.join(few[:3])}"
        )
    sizes = [max(fact.shape[:2]) for fact in read]
    if sizes and max(sizes) > 4 * min(sizes):
        findings.warnings.append(f"sizes differ much: longer sides from {min(sizes)} to {max(sizes)} pixels")


def named_facts(findings: Findings) -> str:
    """Name the lists that were looked at with what they hold."""
    return ", ".join(
        f"{key} ({len(facts)} images, {sum(fact.labelled for fact in facts)} labels)"
        for key, facts in findings.lists().items()
    )


def alike(facts: Sequence[Facts]) -> Iterator[tuple[Facts, Facts, float]]:
    """Give pairs of images of different parts that are nearly the same."""
    own = [fact for fact in facts if fact.small is not None]
    if not own:
        return
    vectors = np.stack([fact.small for fact in own if fact.small is not None])
    for index, fact in enumerate(own):
        close = vectors[index + 1 :] @ vectors[index]
        for place in np.flatnonzero(close > ALIKE):
            other = own[index + 1 + int(place)]
            if other.part != fact.part:
                yield fact, other, float(close[place])


def statistics(findings: Findings) -> list[dict[str, Any]]:
    """A row of each class and list: labels that have it, its size, its pieces."""
    rows = []
    for key, facts in findings.lists().items():
        labelled = [fact for fact in facts if fact.values is not None]
        for value, name in enumerate(findings.classes, 1):
            # of one class any value is it
            shapes = [
                shape
                for fact in labelled
                for v, shape in fact.shapes.items()
                if v == value or len(findings.classes) == 1
            ]
            if not labelled:
                continue
            shares = [100 * shape.side**2 for shape in shapes]
            rows.append(
                {
                    "list": key,
                    "class": name,
                    "labels": len(labelled),
                    "with_it": len(shapes),
                    "area_percent_median": round(float(np.median(shares)), 2) if shares else "",
                    "area_percent_min": round(min(shares), 2) if shares else "",
                    "area_percent_max": round(max(shares), 2) if shares else "",
                    "pieces_max": max((shape.pieces for shape in shapes), default=""),
                    "thickness_percent_min": round(100 * min(shape.thickness for shape in shapes), 1) if shapes else "",
                }
            )
    return rows


def write(findings: Findings, output: Path, most: int = 200) -> Path:
    """Write check.html, check.csv (a row a file) and statistics.csv; returns the page.

    Args:
        findings: what was found.
        output: folder, made when missing.
        most: pictures of each list on the page at most; images with errors or warnings come first.
    """
    from monai_semgan.reports.page import picture, render

    output.mkdir(parents=True, exist_ok=True)
    table = [
        {
            "list": f.list_key,
            "file": f.file,
            "errors": "; ".join(f.errors),
            "warnings": "; ".join(f.warnings),
            "shape": " x ".join(map(str, f.shape)),
            "channels": f.stored_channels or "",
            "label_values": " ".join(map(str, (f.values or {}))),
        }
        for f in findings.facts
    ]
    numbers = statistics(findings)
    for name, rows in (("check.csv", table), ("statistics.csv", numbers)):
        with (output / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else ["list"])
            writer.writeheader()
            writer.writerows(rows)
    shown = {}
    for key, facts in findings.lists().items():
        ordered = sorted(facts, key=lambda f: (not f.errors, not f.warnings, not f.labelled))
        shown[key] = [(f, picture(f.tile) if f.tile is not None else "") for f in ordered[:most]]
    classes = {name: colour_of(value) for value, name in enumerate(findings.classes, 1)}
    page = output / "check.html"
    text = render("data_check.html", findings=findings, numbers=numbers, shown=shown, classes=classes)
    page.write_text(text, encoding="utf-8")
    return page
