# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Labelled samples of a bundle's generative model, to train other networks from (table 6 of Li et al., CVPR 2021).

``semgan synthesise lung_xray OUTPUT --number 20000``

Sample k is drawn from seed k, alone, so it is the same in every run. The seeds follow each other; of each sample a row
of ``samples.csv`` tells its scores and whether it was kept, and the files of those that were are there before the row.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO, StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.utils import make_grid
from tqdm import tqdm

from monai_semgan import formats
from monai_semgan.apps.demo import to_label, to_uint8
from monai_semgan.apps.sample_criteria import (
    Agreement,
    Connected,
    Criterion,
    Foreground,
    Originality,
    Realism,
    Sample,
    Variety,
    describe,
    quantile,
)
from monai_semgan.bundle import INFERENCE, Bundle, keep_freed_memory, parsed
from monai_semgan.data import cohort
from monai_semgan.data.cohort import failure_reason
from monai_semgan.formats.memory import UPRIGHT
from monai_semgan.handlers.checkpoints import save_whole
from monai_semgan.networks.label_map import map_to_label
from monai_semgan.networks.weights import load_weights, read_state
from monai_semgan.predictor import Predictor

LIST = "synthetic"
SAMPLES, DATALIST, SETTINGS, TRAINING = "samples.csv", "datalist.json", "settings.json", "training.pt"
FOLDERS = ("images", "labels", "codes")
KEPT, DROPPED = "kept", "dropped"
# shares that every label map of use reaches
LEAST_FOREGROUND, LEAST_CONNECTED = 0.001, 0.98
# after so many draws fewer than one in so many kept end the run: the settings do not fit the model
PATIENCE, RAREST = 200, 20
# training images that are read and encoded together
BATCH = 16
# samples of a grid, and of a row of it
TILES, COLUMNS = 24, 8


@dataclass(frozen=True)
class Filters:
    """By what samples are dropped; see :mod:`monai_semgan.apps.sample_criteria`.

    Attributes:
        teacher: state dict of a second network, the bundle's ``teacher_def``; None for none.
        agreement: least Dice of its mask and the sample's label map, 0 to 1.
        datalist: JSON file with lists of the images that the model was trained on; None does not compare with them.
        dataset_dir: folder that its paths start from; None for its own.
        lists: names of these lists.
        originality: least distance to a training image, as a share of that image's to the nearest other one.
        variety: least distance of the codes of two samples in standard deviations.
        pieces: number of connected pieces that a class comes in, 0 for any; None for the bundle's
            ``largest_components``.
        discriminator: checkpoint of the GAN's training, whose D_r scores samples; None for none.
        realism: share of the training images that D_r scores lower than the least of a sample, 0 to 1.
    """

    teacher: str | None = None
    agreement: float = 0.85
    datalist: str | None = None
    dataset_dir: str | None = None
    lists: Sequence[str] = ("unlabeled",)
    originality: float = 0.8
    variety: float = 0.3
    pieces: int | None = None
    discriminator: str | None = None
    realism: float = 0.05

    def __post_init__(self) -> None:
        for name in ("agreement", "realism"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, it must lie between 0 and 1")
        for name in ("originality", "variety", "pieces"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be at least 0")


@dataclass(frozen=True)
class Drawing:
    """What the generative model draws from a seed, as it is written.

    Attributes:
        seed: the seed.
        codes: W+ codes, ``(N, D)``.
        levels: grey or RGB bytes, ``(S, S)`` or ``(S, S, 3)``.
        mask: bytes, 0 and 255 if the bundle has one class, else class indices, ``(S, S)``.
        label: class indices, ``(S, S)``.
    """

    seed: int
    codes: Tensor
    levels: np.ndarray
    mask: np.ndarray
    label: Tensor


class SampleSource:
    """Draw samples of a bundle's network, and see them as the bundle's preprocessing does.

    Args:
        predictor: the bundle's.
        window: level and width in Hounsfield units of what a bundle of volumes sees; None for images.
        truncation: 1 for the full variety of images, towards 0 for images nearer the mean one.

    Raises:
        ValueError: for a truncation that is not above 0.
    """

    def __init__(self, predictor: Predictor, window: tuple[float, float] | None, truncation: float) -> None:
        if not truncation > 0:
            raise ValueError(f"truncation is {truncation}, it must be above 0")
        self.predictor = predictor
        self.window = window
        self.network: Any = predictor.network
        self.truncation = truncation

    def codes(self, seed: int) -> Tensor:
        """Draw the codes of a seed, ``(1, N, D)``."""
        return self.network.prior.sample(1, truncation=self.truncation, generator=torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def draw(self, seed: int) -> Drawing:
        """Draw the sample of a seed, alone: bits of a batch would depend on its size.

        Raises:
            ValueError: when the training of the encoder has not fitted the prior.
        """
        codes = self.codes(seed)
        image, logits = (values.float().cpu() for values in self.network.decode(codes))
        label = map_to_label(logits)[0, 0].to(torch.uint8)
        return Drawing(seed, codes[0].cpu(), to_uint8(image[0].clamp(-1, 1)), to_label(logits[0]), label)

    def read(self, drawing: Drawing) -> Sample:
        """Bring a drawing to the network's input, as its file would be.

        Raises:
            ValueError: when the bundle would not read it.
        """
        volume = self.window is not None
        try:
            stored = formats.in_memory(self.stored(drawing), 2 + volume)
            formats.check_image(stored, "image")
            image = self.predictor.preparation(self.item({"image": stored}))["image"].as_tensor()
        except Exception as error:
            raise ValueError(failure_reason(error)) from error
        return Sample(drawing.seed, drawing.codes, image[..., 0] if volume else image, drawing.label)

    def item(self, item: dict[str, Any]) -> dict[str, Any]:
        """Say of an item of a bundle of volumes that its intensities are Hounsfield units."""
        return item | ({} if self.window is None else {"intensity_scale": "hu"})

    def stored(self, drawing: Drawing) -> np.ndarray:
        """What a sample's file holds: bytes ``(S, S)`` or ``(S, S, 3)``, or Hounsfield units ``(S, S, 1)``."""
        if self.window is None:
            return drawing.levels
        level, width = self.window
        return (level + (drawing.levels[..., None] / 255 - 0.5) * width).round().astype(np.int16)

    def files(self, drawing: Drawing) -> dict[str, bytes]:
        """Content of a sample's files by their paths below the output: image, label map and codes, in this order.

        Pictures are PNG of the network's size, slices of a bundle of volumes NIfTI volumes of one slice.
        """
        if self.window is None:
            image, mask, ending = png(drawing.levels), png(drawing.mask), ".png"
        else:
            image, mask, ending = nifti(self.stored(drawing)), nifti(drawing.mask[..., None]), ".nii.gz"
        name = f"sample_{drawing.seed:08d}"
        codes = BytesIO()
        np.save(codes, drawing.codes.numpy())
        return {
            f"images/{name}{ending}": image,
            f"labels/{name}{ending}": mask,
            f"codes/{name}.npy": codes.getvalue(),
        }


class SampleFolder:
    """The folder that samples are written to, which tells how far an earlier run of the same settings came.

    Args:
        root: the folder; it is made.
        names: of the scores.
        settings: what decides on samples.

    Raises:
        ValueError: when the folder holds samples of other settings.
    """

    def __init__(self, root: Path, names: Sequence[str], settings: Mapping[str, Any]) -> None:
        self.root = root
        self.names = tuple(names)
        self.columns = ("file", "seed", "truncation", *self.names, "status", "message")
        self.claim(json.loads(json.dumps(settings)))
        for folder in FOLDERS:
            (root / folder).mkdir(exist_ok=True)
        self.drawn = 0
        self.reasons: Counter[str] = Counter()

    def claim(self, settings: dict[str, Any]) -> None:
        """Write the settings, or compare them with those of an earlier run."""
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / SETTINGS
        if not path.is_file():
            if (self.root / SAMPLES).exists():
                raise ValueError(f"{self.root} holds {SAMPLES} but no {SETTINGS}: name another folder")
            replace(path, (json.dumps(settings, indent=2) + "\n").encode())
            return
        before = json.loads(path.read_text(encoding="utf-8"))
        if changed := [name for name in settings if before.get(name) != settings[name]]:
            told = ", ".join(f"{name} {before.get(name)}, not {settings[name]}" for name in changed)
            raise ValueError(f"{self.root} was made with {told}: go on with the same, or name another folder")

    def resume(self) -> Iterator[dict[str, str]]:
        """Count and give the rows of an earlier run; what is left of one that a kill cut off is taken away."""
        path = self.root / SAMPLES
        if not path.is_file():
            replace(path, line(self.columns))
        with path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            # a row has some hundred bytes
            file.seek(max(0, end - 4096))
            start, tail = file.tell(), file.read()
            file.truncate(start + tail.rfind(b"\n") + 1)
        for row in self.rows():
            self.count(row)
            yield row

    def rows(self, status: str | None = None) -> Iterator[dict[str, str]]:
        """Give the rows there are, one by one, or those of a status."""
        with (self.root / SAMPLES).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if status in (None, row["status"]):
                    yield row

    def count(self, row: Mapping[str, Any]) -> None:
        """Count a row by its status and by the criteria that it fails."""
        self.drawn += 1
        self.reasons[str(row["status"])] += 1
        self.reasons.update(part.split()[0] for part in str(row["message"]).split("; ") if part)

    @property
    def kept(self) -> int:
        """Number of samples that were kept."""
        return self.reasons[KEPT]

    def write(self, files: Mapping[str, bytes], row: dict[str, Any]) -> None:
        """Write a sample: its files, each beside and renamed, and then its row, which counts."""
        for name, content in files.items():
            replace(self.root / name, content)
        with (self.root / SAMPLES).open("ab") as file:
            file.write(line([row.get(name, "") for name in self.columns]))
        self.count(row)

    def write_datalist(self, source: SampleSource) -> None:
        """Write the datalist of all samples that were kept, with paths relative to it."""
        partial = beside(self.root / DATALIST)
        with partial.open("w", encoding="utf-8") as file:
            file.write(f'{{"{LIST}": [')
            for index, row in enumerate(self.rows(KEPT)):
                item = source.item({"image": row["file"], "label": row["file"].replace("images/", "labels/", 1)})
                file.write(f"{',' if index else ''}\n{json.dumps(item)}")
            file.write("\n]}\n")
        os.replace(partial, self.root / DATALIST)

    def write_grids(self, source: SampleSource) -> None:
        """Draw the first samples that were kept, and the first that were not, images above their label maps."""
        for status in (KEPT, DROPPED):
            seeds = [int(row["seed"]) for row in islice(self.rows(status), TILES)]
            if seeds:
                replace(self.root / f"{status}.png", png(grid([source.draw(seed) for seed in seeds])))

    def summary(self) -> str:
        """Tell how many samples were drawn and kept, and how many failed which criterion."""
        lines = [f"kept {self.kept} of {self.drawn} samples drawn ({self.kept / max(1, self.drawn):.1%})"]
        for name in (*self.names, "unreadable"):
            if self.reasons[name]:
                lines.append(f"  {name}: {self.reasons[name]} failed ({self.reasons[name] / self.drawn:.1%})")
        return "\n".join(lines)


def synthesise(
    bundle: Bundle,
    output: Path,
    *,
    number: int,
    truncation: float = 1.0,
    seed: int = 0,
    filters: Filters | None = None,
    weights: str | None = None,
    device: str = "auto",
) -> str:
    """Write labelled samples of a bundle's network until so many are kept; goes on where an earlier run ended.

    Args:
        bundle: the bundle.
        output: folder for ``images/``, ``labels/``, ``codes/``, ``samples.csv``, ``datalist.json`` with the list
            "synthetic", and grids of the first samples, ``kept.png`` and ``dropped.png``.
        number: number of samples that are kept, at least 1; a later call may name a larger one.
        truncation: 1 for the full variety of images, towards 0 for images nearer the mean one; above 0.
        seed: that of the first sample, from 0; the others follow.
        filters: by what samples are dropped.
        weights: file of other weights than the bundle's.
        device: where networks run.

    Returns:
        What was kept and what failed which criterion, in words.

    Raises:
        FileNotFoundError: when a file does not exist.
        ValueError: for settings that do not work, a folder with samples of other settings, or when almost no sample
            is kept.
    """
    if number < 1 or seed < 0:
        raise ValueError(f"number is {number} and seed {seed}, they must be at least 1 and 0")
    filters = filters or Filters()
    keep_freed_memory(device)
    chosen = {} if weights is None else {"ckpt_path": weights}
    predictor = bundle.predictor(device=device, **chosen)
    source = SampleSource(predictor, bundle.window, truncation)
    # a network that cannot draw is told before anything is written
    source.codes(seed)
    teacher = load_teacher(bundle, filters.teacher, predictor.device)
    discriminator = load_discriminator(bundle, filters.discriminator, predictor.device)
    judge = None if discriminator is None else Realism(discriminator, -torch.inf)
    items = training_items(filters, predictor.spatial_dims)
    criteria: list[Criterion] = [Foreground(LEAST_FOREGROUND)]
    if pieces := pieces_of(bundle) if filters.pieces is None else filters.pieces:
        criteria.append(Connected(pieces, LEAST_CONNECTED))
    criteria += [] if teacher is None else [Agreement(teacher, filters.agreement)]
    criteria += [] if judge is None else [judge]
    variety = Variety(source.network.prior, filters.variety)
    names = [*(c.name for c in criteria), *([Originality.name] if items else []), variety.name]
    settings = {"bundle": bundle.name, "truncation": truncation, "seed": seed, **identity(bundle, filters, weights)}
    folder = SampleFolder(output, names, settings)
    if items:
        training = training_images(predictor, items, judge, output / TRAINING)
        if judge is not None:
            judge.least = quantile(training["realism"], filters.realism)
        criteria.append(Originality(source.network, training["factors"], filters.originality))
    criteria.append(variety)
    for row in folder.resume():
        if row["status"] == KEPT:
            variety.note(source.codes(int(row["seed"]))[0])
    try:
        draw(source, folder, criteria, number=number, seed=seed)
    finally:
        # an interrupted run leaves a datalist too
        folder.write_datalist(source)
        folder.write_grids(source)
    return folder.summary()


def draw(source: SampleSource, folder: SampleFolder, criteria: Sequence[Criterion], *, number: int, seed: int) -> None:
    """Draw, score and write samples, one by one, until the folder holds so many that were kept.

    Args:
        source: draws them.
        folder: where they go; what it holds was drawn before.
        criteria: all of them are scored, and all have to be fulfilled.
        number: number of samples.
        seed: that of the first sample.

    Raises:
        ValueError: when almost no sample is kept.
    """
    with tqdm(total=number, initial=min(number, folder.kept), unit=" samples", mininterval=1.0) as bar:
        while folder.kept < number:
            if folder.drawn >= PATIENCE and folder.kept * RAREST < folder.drawn:
                raise ValueError(
                    f"{folder.summary()}\nfewer than 1 sample in {RAREST} is kept, see {folder.root / SAMPLES}: lower "
                    "what fails most, or give the criterion's network more training"
                )
            drawing = source.draw(seed + folder.drawn)
            row: dict[str, Any] = {"seed": drawing.seed, "truncation": source.truncation}
            try:
                sample = source.read(drawing)
            except ValueError as error:
                folder.write({}, row | {"status": DROPPED, "message": f"unreadable {error}".replace("; ", ", ")})
                continue
            scores = {criterion.name: criterion(sample) for criterion in criteria}
            row |= {name: f"{score:.6g}" for name, score in scores.items()}
            # not "below": a score that is no number fails
            failed = [criterion for criterion in criteria if not scores[criterion.name] >= criterion.least]
            if failed:
                told = "; ".join(f"{c.name} {scores[c.name]:.4g} below {c.least:.4g}" for c in failed)
                folder.write({}, row | {"status": DROPPED, "message": told})
            else:
                files = source.files(drawing)
                folder.write(files, {"file": next(iter(files)), **row, "status": KEPT, "message": ""})
                for criterion in criteria:
                    criterion.keep(sample)
                bar.update()
            bar.set_postfix_str(f"{folder.drawn} drawn", refresh=False)


def identity(bundle: Bundle, filters: Filters, weights: str | None) -> dict[str, Any]:
    """Settings by which samples are kept, with what files hold in place of their paths, as they may be moved."""
    files = {name: getattr(filters, name) for name in ("teacher", "datalist", "discriminator")}
    files["weights"] = weights or parsed(bundle.parser(), "ckpt_path")
    settings = asdict(filters) | {name: digest(path) for name, path in files.items()}
    del settings["dataset_dir"]
    return settings


def load_teacher(bundle: Bundle, path: str | None, device: torch.device) -> nn.Module | None:
    """Load the second network, the ``teacher_def`` of the bundle's ``train_encoder.yaml``; None without a file."""
    if path is None:
        return None
    if not Path(path).is_file():
        raise FileNotFoundError(f"teacher {path} does not exist: semgan train {bundle.name} --stages unet makes one")
    return load_weights(parsed(bundle.parser("train_encoder.yaml"), "teacher_def"), path).to(device)


def load_discriminator(bundle: Bundle, path: str | None, device: torch.device) -> nn.Module | None:
    """Load D_r from a checkpoint of the GAN's training; None without a file.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when it is no such checkpoint, or one of a network of another shape.
    """
    if path is None:
        return None
    if not Path(path).is_file():
        raise FileNotFoundError(f"discriminator {path} does not exist: name state.pt of the training of the GAN")
    discriminator = parsed(bundle.parser("train_gan.yaml"), "image_discriminator")
    try:
        discriminator.load_state_dict(read_state(path)["image_discriminator"])
    except Exception as error:  # torch.load raises whatever a damaged file leads to
        raise ValueError(
            f"{path} holds no D_r of this bundle: name state.pt of the training of its GAN, shipped weights hold none"
        ) from error
    return discriminator.to(device)


def pieces_of(bundle: Bundle) -> int:
    """How many pieces a class comes in by the bundle's ``largest_components``, 0 where it does not say."""
    parser = bundle.parser(INFERENCE)
    found = parsed(parser, "largest_components") if "largest_components" in parser else 0
    # of classes by name the most that one of them comes in
    return int(max([0, *found.values()]) if isinstance(found, dict) else found or 0)


def training_items(filters: Filters, spatial_dims: int) -> list[dict[str, Any]]:
    """List the images that the model was trained on; none without a datalist.

    Raises:
        FileNotFoundError, ValueError: when a list cannot be read.
    """
    file, root = filters.datalist, filters.dataset_dir
    lists = () if file is None else filters.lists
    return [item for key in lists for item in cohort(root, datalist=file, list_key=key, spatial_dims=spatial_dims)]


def training_images(
    predictor: Predictor, items: Sequence[dict[str, Any]], judge: Realism | None, path: Path
) -> dict[str, Tensor]:
    """Describe the images that the model was trained on, or read what an earlier run wrote of them.

    Args:
        predictor: reads and encodes them.
        items: the images.
        judge: D_r, if there is one.
        path: file that keeps the result.

    Returns:
        "factors" of their codes, ``(M, K)``, and D_r's scores, "realism", ``(M,)`` or empty.

    Raises:
        ValueError: when an image cannot be read.
    """
    if path.is_file():
        return read_state(path)
    network: Any = predictor.network
    factors, realism = [], [torch.empty(0)]
    for images in batches(planes(predictor, tqdm(items, unit=" training images", mininterval=1.0)), BATCH):
        factors.append(describe(network, images))
        realism += [] if judge is None else [judge.judge(images)]
    found = {"factors": torch.cat(factors), "realism": torch.cat(realism)}
    save_whole(found, path)
    return found


def planes(predictor: Predictor, items: Iterable[dict[str, Any]]) -> Iterator[Tensor]:
    """Read items one by one, and give their images, or the slices of their volumes, as ``(C, S, S)``."""
    for item in items:
        try:
            image = predictor.prepare(item)["image"].as_tensor()
        except Exception as error:
            raise ValueError(f"training image {item['file']}: {failure_reason(error)}") from error
        yield from image.movedim(-1, 0) if image.ndim == 4 else [image]


def batches(images: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    """Stack images, so many at a time."""
    while part := list(islice(images, size)):
        yield torch.stack(part)


def grid(drawings: Sequence[Drawing]) -> np.ndarray:
    """Tiles of drawings, rows of images above rows of their label maps, ``(row, column, 3)``."""
    top = max(1, max(int(drawing.label.max()) for drawing in drawings))
    tiles = []
    for start in range(0, len(drawings), COLUMNS):
        row = drawings[start : start + COLUMNS]
        blank = np.zeros((*row[0].mask.shape, 3), dtype=np.uint8)
        pictures = [np.broadcast_to(d.levels if d.levels.ndim == 3 else d.levels[..., None], blank.shape) for d in row]
        masks = [np.broadcast_to((d.label.numpy() * (255 // top))[..., None], blank.shape) for d in row]
        rest = [blank] * (COLUMNS - len(row))
        tiles += [*pictures, *rest, *masks, *rest]
    return make_grid(torch.from_numpy(np.stack(tiles)).movedim(-1, 1), nrow=COLUMNS).movedim(0, -1).numpy()


def png(levels: np.ndarray) -> bytes:
    """Encode grey ``(H, W)`` or RGB ``(H, W, 3)`` bytes as PNG."""
    file = BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    return file.getvalue()


def nifti(values: np.ndarray) -> bytes:
    """Encode integers ``(row, column, 1)`` as an axial NIfTI slice, rows to the back and columns to the left."""
    return gzip.compress(nib.Nifti1Image(values, UPRIGHT).to_bytes(), mtime=0)


def line(values: Iterable[Any]) -> bytes:
    """Encode a line of a CSV file."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def beside(path: Path) -> Path:
    """Name what a file is written as before it takes the place of another."""
    return path.with_name(path.name + ".partial")


def replace(path: Path, content: bytes) -> None:
    """Write a file in one piece, so that an interruption leaves the one before."""
    beside(path).write_bytes(content)
    os.replace(beside(path), path)


def digest(path: str | os.PathLike[str] | None) -> str | None:
    """SHA-256 of a file, which tells it from others wherever it lies; None without a file.

    Raises:
        FileNotFoundError: when it does not exist.
    """
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()
