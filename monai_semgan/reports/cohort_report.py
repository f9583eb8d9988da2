# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What became of each image of a run: mask and overlay, a log line, a row of a CSV file, a page, and a summary."""

from __future__ import annotations

import base64
import csv
import errno
import io
import json
import logging
import platform
import re
import shlex
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from ignite.engine import Engine, Events
from jinja2 import Environment
from monai.config import PathLike
from monai.data import MetaTensor
from monai.utils import convert_to_tensor
from PIL import Image
from scipy.stats import spearmanr
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from monai_semgan import __version__, formats
from monai_semgan.data.cohort import RESULTS, SKIPPED, failure_reason, state_of
from monai_semgan.formats.registry import SUSPICIOUS
from monai_semgan.metrics import REPORTED_SCORES, class_columns, in_words, known_scores, slice_dice
from monai_semgan.predictor import Prediction
from monai_semgan.reports.overlay import LABEL_COLOUR, THUMBNAIL, page, side_by_side, thumbnail, tiles

logger = logging.getLogger(__name__)

QUALITY = ("predicted_dice", "predicted_dice_low", "predicted_dice_high")
FILES = ("file", "status", "message", "mask", "overlay")
COLUMNS = (*FILES, "reconstruction_error", *QUALITY, "look", "look_slices", "check")
# of a run, or of one of the processes that share it
REPORT = r"report(\.\d+)?\.csv"
# of a slice, as its tile names them
IN_TILES = {"reconstruction_error": "error", "predicted_dice": "predicted Dice"}
# cells of the page that have a place of their own; all others are listed by their columns' names
PLACED = {*FILES, "look", "check", *QUALITY}
STATISTICS = ("n", "mean", "std", "median", "min", "max")
# which images a run did, beside its reports
STATES = "inputs"
# hidden folder of the files that are not whole yet
UNFINISHED = ".unfinished"
# why no further file can be written
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# what a spreadsheet takes for a formula
FORMULA = re.compile(r"'*[=+\-@\t\r]")


class CohortReport:
    """Write what was found in each image as it comes, and report on it.

    Follows an engine whose ``state.output`` is a list of :class:`monai_semgan.predictor.Prediction`. Of each image the
    mask goes to ``masks/NAME_mask``, in the format and the geometry of the image, and a picture to judge it by to
    ``overlays/NAME_overlay.png``: :func:`monai_semgan.reports.overlay.overlay` of an image, a
    :func:`monai_semgan.reports.overlay.page` of a volume, whose slices' errors and predicted Dice go to
    ``masks/NAME_slices.csv``. A bar counts images where standard error is a terminal.

    Files get their names when they are whole, so that a kill leaves none that is cut off.

    ``report.csv`` has a row for each image, written at once, so that an interrupted run leaves those it did: "ok", with
    warnings of its reading as message, "failed", or "skipped", what is no image and was not to be done. Paths of masks
    and overlays are relative to it. ``report.json`` has the same at the end of a run. Text that a spreadsheet would
    take for a formula has an apostrophe in front. With ``scores``, rows also have the patient and these scores, log
    lines the first of them, and at the end there are ``patients.csv`` (the mean over each patient's images; without a
    "patient" an image is one), ``summary.csv`` and ``summary.json`` (statistics over patients); the means are put into
    ``state.metrics``.

    Processes that share a cohort (``torchrun``), as ``torch.distributed`` has joined them before, each write
    ``report.RANK.csv``; at the end, when all have arrived, the first joins them into ``report.csv``. With ``resume``,
    ``finished`` lists what earlier runs did, whichever process it was, and rows are added to theirs; images whose files
    are gone are done again. ``inputs.csv``
    tells which files the rows are of: an image of the same name from elsewhere, or one that has changed, is done again.

    With ``about``, ``report.html`` is written at the end, and when the user interrupts the run: one file that needs no
    other and shows all rows, with pictures from ``thumbnails/``, the scores and what the run was made with.

    Args:
        output_dir: folder for the files.
        display: makes of an item with the path "image" the image as overlays show it. The image is read again, so that
            a run need not carry full-size images along.
        orient: the step of it that brings an image, and so a mask, upright.
        classes: names of the classes and the colours of their outlines, for the values of a mask from 1 on.
        scores: names of scores to report, of those that an evaluation's postprocessing gives; none by default. Where
            there are several classes each is followed by theirs, see :func:`monai_semgan.metrics.class_columns`.
        resume: go on with the report of an interrupted run; otherwise its files are replaced.
        look_below: predicted Dice below which the column "look" says so, in [0, 1].
        measurements: names of columns, and the measurement and the unit that each is of; see
            :attr:`monai_semgan.metrics.Measurements.columns`.
        about: what the page tells of the run, by name, such as :func:`monai_semgan.bundle.about` gives; "classes" are
            the colours of the outlines by name. None for no page.

    Raises:
        ValueError: when a score is unknown.
    """

    def __init__(
        self,
        output_dir: PathLike,
        *,
        display: Callable[[dict[str, Any]], Any] | None = None,
        orient: Callable[[dict[str, Any]], Any] | None = None,
        classes: Mapping[str, Sequence[int]] | None = None,
        scores: Iterable[str] = (),
        resume: bool = False,
        look_below: float = 0.85,
        measurements: Mapping[str, tuple[str, str]] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.output_dir = Path(str(output_dir))
        joined = dist.is_available() and dist.is_initialized()
        self.rank, self.world_size = (dist.get_rank(), dist.get_world_size()) if joined else (0, 1)
        self.path = self.output_dir / (f"report.{self.rank}.csv" if self.world_size > 1 else "report.csv")
        self.display = display
        self.orient = orient
        self.classes = dict(classes or {})
        self.colours = [tuple(colour) for colour in self.classes.values()]
        self.resume = resume
        self.look_below = look_below
        self.about = about
        self.scores = class_columns(known_scores(scores, REPORTED_SCORES), list(self.classes)) if scores else ()
        self.measurements = dict(measurements or {})
        self.columns = (*COLUMNS, *self.measurements, *(("patient", *self.scores) if self.scores else ()))
        self.rows: list[dict[str, Any]] = []
        self.total = 0
        self.bar: Any = None
        # what ends with the bar
        self.terminal = ExitStack()

    @property
    def folders(self) -> list[Path]:
        """Folders of results, which are not to be taken for images."""
        return [self.output_dir / name for name in RESULTS]

    @property
    def finished(self) -> dict[str, str | None]:
        """Files that need not be done again, and their state, where it is known.

        With ``resume`` those that are ok in a report of an earlier run.
        """
        if not self.resume:
            return {}
        states: dict[str, str] = {}
        # a process's own is newer than what was joined before
        for path in sorted(self.output_dir.glob(f"{STATES}*.csv"), reverse=True):
            states |= {row["file"]: row["state"] for row in read_csv(path)[1]}
        return {row["file"]: states.get(row["file"]) for row in self._earlier() if self._is_done(row)}

    def _is_done(self, row: Mapping[str, Any]) -> bool:
        """Tell whether an image was segmented and its files are still there."""
        files = [self.output_dir / row[name] for name in ("mask", "overlay") if row[name]]
        return row["status"] == "ok" and all(file.is_file() and file.stat().st_size > 0 for file in files)

    @property
    def failed(self) -> int:
        """Number of images that failed."""
        return sum(row["status"] == "failed" for row in self.rows)

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the evaluator.
        """
        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.COMPLETED, self.completed)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.exception_raised)

    def exit_on_failure(self) -> None:
        """Leave the program with exit code 1 if an image failed. For the end of a command, when all is written.

        Raises:
            SystemExit: when an image failed, or none was processed.
        """
        if not any(row["status"] != "skipped" for row in self.rows) and self.rank == 0:
            raise SystemExit("error: no images given: name a folder, a file or a datalist")
        if self.failed:
            raise SystemExit(
                f"{self.failed} of {len(self.rows)} images failed: see the messages in {self.output_dir / 'report.csv'}"
            )

    def started(self, engine: Engine) -> None:
        """Begin the CSV file, or go on with it."""
        self.output_dir.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.unfinished, ignore_errors=True)
        own = self.path.is_file() and self.resume
        dataset = engine.data_loader.dataset  # type: ignore[attr-defined]
        # an image of the same name that is done again
        anew = {item.get("file") for item in getattr(dataset, "data", ())}
        rows = self._read(self.path) if own else []
        self.rows = [row for row in rows if row["status"] == "ok" and row["file"] not in anew]
        if self.rank == 0 and not self.resume:
            # each process replaces its own
            own_files = {f"report.{rank}.csv" for rank in range(self.world_size)}
            for path in self._reports():
                if path.name not in own_files:
                    path.unlink()
            for path in self.output_dir.glob(f"{STATES}*.csv"):
                path.unlink()
        self.total = len(self.rows) + len(dataset)
        write_csv(self.path, self.columns, self.rows)
        # None: where standard error is a terminal
        quiet = True if self.rank > 0 else None
        # a terminal may not tell its size, tqdm then shows nothing
        columns, lines = shutil.get_terminal_size()
        size = {"ncols": columns, "nrows": lines}
        # images come in batches: the time left by the mean of all
        self.bar = tqdm(total=self.total, initial=len(self.rows), unit="image", smoothing=0, disable=quiet, **size)
        self.terminal.callback(self.bar.close)
        if not self.bar.disable:
            self.terminal.enter_context(logging_redirect_tqdm())

    def iteration_completed(self, engine: Engine) -> None:
        """Write the files of a batch, log its images and append their rows, one image after the other.

        Raises:
            OSError: when the disk is full or may not be written to, so that no other image could be kept either.
        """
        predictions: list[Prediction] = engine.state.output  # type: ignore[assignment]
        for prediction in predictions:
            try:
                row = self._row(prediction, self._write(prediction))
                write_csv(self.path, self.columns, [row], append=True)
                self._keep_state(prediction)
            except OSError as error:
                if error.errno in FULL:
                    told = f"{error.strerror}, {len(self.rows)} of {self.total} images are done"
                    raise OSError(error.errno, told, str(self.output_dir)) from error
                raise
            self.rows.append(row)
            self._log(row)
            self.bar.update()

    def _keep_state(self, prediction: Prediction) -> None:
        """Note which image this was, for a run that goes on."""
        files = source_of(prediction)
        if prediction.failure is not None or not files:
            return
        path = self.output_dir / f"{STATES}{f'.{self.rank}' if self.world_size > 1 else ''}.csv"
        state = {"file": prediction.item.get("file"), "state": state_of({"image": files})}
        write_csv(path, ("file", "state"), [state], append=path.is_file())

    def _write(self, prediction: Prediction) -> dict[str, str]:
        """Write mask, overlay and slices' errors; what fails makes the prediction one that failed."""
        if prediction.failure is not None:
            return {}
        name = prediction.item["name"]
        # postprocessing leaves out the channel, as MONAI Label asks
        mask = prediction.mask[None]
        try:
            written, told = formats.write_as(mask, self._place("masks", f"{name}_mask"))
            files = {"mask": next(iter(written.values()))}
            prediction.warnings += tuple(told)
            if slices := self._slices(prediction):
                write_csv(self._place("masks", f"{name}_slices.csv"), slices[0], slices)
            if self.display is not None:
                files["overlay"] = self._place("overlays", f"{name}_overlay.png")
                large, small = self._draw(prediction, mask)
                # a third of the time of the default, for a quarter more bytes
                Image.fromarray(large).save(files["overlay"], compress_level=1)
                if self.about is not None:
                    # coloured lines would be blurred with half of the colours' pixels
                    place = self._place("thumbnails", f"{name}.jpg")
                    Image.fromarray(small).save(place, quality=75, subsampling=0)
            self._finish()
        except Exception as error:
            shutil.rmtree(self.unfinished, ignore_errors=True)
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            logger.debug("results could not be written", exc_info=True)
            prediction.failure = failure_reason(error)
            return {}
        return {column: file.relative_to(self.unfinished).as_posix() for column, file in files.items()}

    @property
    def unfinished(self) -> Path:
        """Folder of this process for files that are not whole yet."""
        return self.output_dir / f"{UNFINISHED}.{self.rank}"

    def _slices(self, prediction: Prediction) -> list[dict[str, Any]]:
        """What is known of each slice of a volume, from the feet; empty of an image."""
        errors, quality = prediction.slice_errors, () if prediction.quality is None else prediction.quality.slices
        found: list[dict[str, Any]] = [{"slice": k} for k in range(1, 1 + max(len(errors or ()), len(quality)))]
        for each, error in zip(found, errors or ()):
            each["reconstruction_error"] = rounded(error)
        for each, (dice, low, high, _) in zip(found, quality):
            each |= zip(QUALITY, (round(value, 3) for value in (dice, low, high)), strict=True)
            each["look"] = "look" if dice < self.look_below else ""
        for each, dice in zip(found, self._slice_dice(prediction)):
            each["dice"] = rounded(dice)
        return found

    def _slice_dice(self, prediction: Prediction) -> list[float]:
        """:func:`monai_semgan.metrics.slice_dice` of a volume with a label, in the order of :meth:`_slices`."""
        if self.orient is None or prediction.label is None or prediction.mask.ndim != 3:
            return []
        values = (prediction.mask, prediction.label)
        return slice_dice(*(self._upright(each, prediction.mask) for each in values)).tolist()

    def _upright(self, values: Any, mask: Any) -> np.ndarray:
        """A mask or a label on a mask's grid, upright."""
        array = convert_to_tensor(values, track_meta=False).reshape(-1, *mask.shape)
        return self.orient({"image": MetaTensor(array, affine=mask.affine)})["image"][0].numpy()  # type: ignore[misc]

    def _place(self, folder: str, name: str) -> Path:
        """Path of a result until it is whole, its folder made."""
        path = self.unfinished / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _finish(self) -> None:
        """Bring the results of an image, which are whole, to where they belong."""
        for file in sorted(self.unfinished.rglob("*")):
            place = self.output_dir / file.relative_to(self.unfinished)
            if file.is_dir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                file.replace(place)
        shutil.rmtree(self.unfinished)

    def _draw(self, prediction: Prediction, mask: MetaTensor) -> tuple[np.ndarray, np.ndarray]:
        """Draw the image with the outlines of the label, if there is one, and of each class of the mask, and small."""
        assert self.display is not None and self.orient is not None
        image = self.display({**prediction.item, "image": source_of(prediction)})["image"]
        shown = self._upright(mask, mask[0])
        masks = [(shown == value, colour) for value, colour in enumerate(self.colours, 1)]
        if prediction.label is not None:
            true = self._upright(prediction.label, mask[0])
            # below those of the mask
            masks = [*((true == value, LABEL_COLOUR) for value in np.unique(true[true > 0])), *masks]
        if image.ndim == 4:
            small = page(image, masks, slices=6, columns=3, tile=THUMBNAIL * 2 // 3, through=shown > 0)
            told = [
                ", ".join(f"{short} {each[name]:.3g}" for name, short in IN_TILES.items() if each.get(name) is not None)
                for each in self._slices(prediction)
            ]
            return page(image, masks, told, through=shown > 0), small
        reconstruction = prediction.reconstruction
        if reconstruction is not None:
            frame = getattr(prediction.image, "meta", {}).get("frame")
            reconstruction = in_frame(reconstruction, frame, image.shape[1:])
        parts = tiles(image.numpy(), masks, None if reconstruction is None else reconstruction.numpy())
        return side_by_side(parts, caption(prediction)), thumbnail(parts, masks)

    def completed(self, engine: Engine) -> None:
        """Join the reports of all processes and runs; write and log the summary and the page."""
        self.terminal.close()
        if self.world_size > 1:
            torch.distributed.barrier()
        if self.rank > 0:
            return
        if self.world_size > 1 or self.resume:
            self._join()
        self._sort()
        skipped = sum(row["status"] == "skipped" for row in self.rows)
        passed = f", {skipped} that are no images passed over" if skipped else ""
        self._write_json()
        images = len(self.rows) - skipped
        logger.info("%d images, %d failed%s: %s", images, self.failed, passed, self.output_dir / "report.csv")
        summary = self._summarise(engine, images) if self.scores else {}
        self._write_page(summary)

    def exception_raised(self, engine: Engine, error: BaseException) -> None:
        """Write the page of what was done until the user interrupted the run.

        Raises:
            BaseException: the error; for an interruption with what is left.
        """
        self.terminal.close()
        if not isinstance(error, KeyboardInterrupt):
            raise error
        told = f"{len(self.rows)} of {self.total} images are done, see {self.output_dir / 'report.csv'}"
        if self.rank == 0:
            # other processes may still write theirs
            self.rows = self._known()
            self._write_json()
            self._write_page(interrupted=True)
        raise KeyboardInterrupt(f"{told}; the same command with --resume goes on") from error

    def _summarise(self, engine: Engine, images: int) -> dict[str, Any]:
        """Write and log statistics of the scores, and return them."""
        patients = self._patients()
        summary = {key: statistics(patient[key] for patient in patients) for key in self.scores}
        write_csv(self.output_dir / "patients.csv", ("patient", "images", *self.scores), patients)
        columns = ("score", *STATISTICS)
        write_csv(self.output_dir / "summary.csv", columns, [{"score": key, **summary[key]} for key in self.scores])
        for name, rows in (("predicted_dice", self.rows), ("predicted_dice_of_slices", self._slice_rows())):
            if foretold := prediction_scores(rows, self.look_below):
                told = ", ".join(f"{key} {value}" for key, value in foretold.items())
                logger.info("%s: %s", name.replace("_", " ").replace("dice", "Dice"), told)
                summary[name] = foretold
        counts = {"images": images, "failed": self.failed, "patients": len(patients)}
        text = json.dumps({**counts, **summary}, indent=2)
        write_text(self.output_dir / "summary.json", text + "\n")
        for key, values in summary.items():
            if key in self.scores and values["n"]:
                engine.state.metrics[key] = values["mean"]
                logger.info("%s: %s", key, ", ".join(f"{name} {values[name]}" for name in columns[1:]))
        return summary

    def _write_page(self, summary: Mapping[str, Any] | None = None, interrupted: bool = False) -> None:
        """Write report.html from the rows, what a user has to look at first."""
        if self.about is None:
            return
        environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        environment.filters.update(words=lambda name: name.replace("_", " "), shown=shown)
        status = Counter(row["status"] for row in self.rows)
        counts = {name: status[name] for name in ("ok", "failed", "skipped")}
        counts["look"] = sum(bool(row["look"]) for row in self.rows)
        counts["suspicious"] = sum(row["status"] == "ok" and row["check"] == SUSPICIOUS for row in self.rows)
        counts["warned"] = sum(row["status"] == "ok" and bool(row["message"]) for row in self.rows)
        numeric = [name for name in self.columns if any(isinstance(row[name], (int, float)) for row in self.rows)]
        template = environment.from_string(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
        text = template.stream(
            about={**{name: value for name, value in self.about.items() if name != "classes"}, **versions()},
            classes=self.about.get("classes", {}),
            label_colour=LABEL_COLOUR if self.scores else None,
            counts=counts,
            interrupted=f"{len(self.rows)} of {self.total}" if interrupted else None,
            look_below=self.look_below,
            summary={score: (summary or {})[score] for score in self.scores if summary},
            statistics=STATISTICS,
            rows=sorted(self.rows, key=urgency),
            told=[column for column in self.columns if column not in PLACED],
            numeric=numeric,
            sortable=lambda row: {"file": row["file"], **{name: row[name] for name in numeric}},
            embedded=self._embedded,
        )
        part = self.output_dir / "report.html.part"
        text.dump(str(part), encoding="utf-8", errors="replace")
        part.replace(self.output_dir / "report.html")
        logger.info("to look at: %s", self.output_dir / "report.html")

    def _embedded(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """The thumbnail of a row as a data URI, with its size; None where there is none."""
        name = (row["overlay"] or "").removeprefix("overlays/").removesuffix("_overlay.png")
        path = self.output_dir / "thumbnails" / f"{name}.jpg"
        if not name or not path.is_file():
            return None
        with Image.open(path) as image:
            width, height = image.size
        data = base64.b64encode(path.read_bytes()).decode()
        return {"uri": f"data:image/jpeg;base64,{data}", "width": width, "height": height}

    def _sizes(self, row: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The measurements of a row by name and unit."""
        sizes: dict[str, dict[str, Any]] = defaultdict(dict)
        for column, (name, unit) in self.measurements.items():
            sizes[name][unit] = row[column]
        return sizes

    def _write_json(self) -> None:
        """Write the rows as JSON, measurements by name and unit."""
        plain = [column for column in self.columns if column not in self.measurements]
        images = []
        for row in self.rows:
            known = {column: formats.text_of(v) if isinstance(v := row[column], str) else v for column in plain}
            images.append({**known, **({"measurements": self._sizes(row)} if row["status"] == "ok" else {})})
        text = json.dumps({"images": images}, indent=2, ensure_ascii=False)
        write_text(self.output_dir / "report.json", text + "\n")

    def _sort(self) -> None:
        """Put what a user has to look at first: failures, then masks from the lowest predicted Dice on."""
        if any(row["predicted_dice"] is not None for row in self.rows):
            self.rows.sort(key=urgency)
            write_csv(self.path.with_name("report.csv"), self.columns, self.rows)

    def _row(self, prediction: Prediction, files: dict[str, str]) -> dict[str, Any]:
        item, failure = prediction.item, prediction.failure
        row: dict[str, Any] = dict.fromkeys(self.columns)
        row.update(
            file=item.get("file", item.get("image")),
            status="ok" if failure is None else "skipped" if item.get(SKIPPED) else "failed",
            check=prediction.check or None,
            message=failure or "; ".join(prediction.warnings),
            reconstruction_error=rounded(prediction.reconstruction_error) if failure is None else None,
            **files,
        )
        if prediction.quality is not None and failure is None:
            row.update(zip(QUALITY, (round(value, 3) for value in prediction.quality[:3]), strict=True))
            row["look"] = "look" if prediction.quality.dice < self.look_below else ""
            slices = prediction.quality.slices
            row["look_slices"] = ranges([k for k, each in enumerate(slices, 1) if each.dice < self.look_below])
        if prediction.check == SUSPICIOUS and failure is None:
            row["look"] = "look"
        for column, (name, unit) in self.measurements.items():
            row[column] = prediction.measurements.get(name, {}).get(unit) if failure is None else None
        if self.scores:
            row["patient"] = item.get("patient", item.get("name", row["file"]))
            row.update({key: rounded(prediction.scores.get(key)) for key in self.scores if failure is None})
        return row

    def _log(self, row: dict[str, Any]) -> None:
        head = f"[{len(self.rows)}/{self.total}] {row['file']}: "
        if row["status"] == "failed":
            logger.error("%sFAILED: %s", head, row["message"])
            return
        if row["status"] == "skipped":
            logger.info("%sskipped: %s", head, row["message"])
            return
        told = (*self.scores[:1], "predicted_dice", "reconstruction_error")
        parts = [f"{key} {row[key]}" for key in told if row.get(key) is not None]
        parts += in_words(self._sizes(row))
        parts += ["LOOK AT IT"] if row["look"] else []
        parts += [f"look at slices {row['look_slices']}"] if row["look_slices"] else []
        parts += [str(self.output_dir / row["mask"])] if row["mask"] else []
        logger.info("%sok, %s", head, ", ".join(parts))
        if row["message"]:
            logger.warning("%s", row["message"])

    def _reports(self) -> list[Path]:
        return sorted(path for path in self.output_dir.glob("report*.csv") if re.fullmatch(REPORT, path.name))

    def _read(self, path: Path) -> list[dict[str, Any]]:
        """Rows of a report as they were when they were written."""
        columns, rows = read_csv(path)
        if columns != self.columns:
            raise ValueError(
                f"{path} has columns {list(columns)}, this run writes {list(self.columns)}: resume with the "
                "configs and scores that it was begun with, or begin anew without resume"
            )
        numbers = ("reconstruction_error", *QUALITY, *self.measurements, *self.scores)
        return [
            {key: (number(value) if key in numbers else value) if value else None for key, value in row.items()}
            | {"message": row["message"]}
            for row in rows
        ]

    def _earlier(self) -> list[dict[str, Any]]:
        return [row for path in self._reports() for row in self._read(path)]

    def _known(self) -> list[dict[str, Any]]:
        """The rows of all reports, a file that was ok once before one that failed."""
        rows: dict[str, dict[str, Any]] = {}
        # of this run before those of others
        for row in [*self.rows, *(row for row in self._earlier() if row["status"] != "ok" or self._is_done(row))]:
            if row["file"] not in rows or rows[row["file"]]["status"] != "ok":
                rows[row["file"]] = row
        return sorted(rows.values(), key=lambda row: row["file"])

    def _join(self) -> None:
        """Put the rows of all reports into one."""
        self.rows = self._known()
        write_csv(self.output_dir / "report.csv", self.columns, self.rows)
        for path in self._reports():
            if path.name != "report.csv":
                path.unlink()
        states: dict[str, dict[str, Any]] = {}
        # sorted: a process's own comes before what was joined already, and is newer
        for path in sorted(self.output_dir.glob(f"{STATES}*.csv")):
            states = {row["file"]: row for row in read_csv(path)[1]} | states
        write_csv(self.output_dir / f"{STATES}.csv", ("file", "state"), states.values())
        for path in self.output_dir.glob(f"{STATES}.*.csv"):
            path.unlink()

    def _slice_rows(self) -> list[dict[str, Any]]:
        """What was predicted of the slices of all volumes, and their Dice."""
        names = ("dice", *QUALITY)
        found = []
        for row in self.rows:
            path = self.output_dir / re.sub(r"_mask\.[\w.]+$", "_slices.csv", row["mask"] or "")
            rows = read_csv(path)[1] if path.suffix == ".csv" and path.is_file() else []
            found += [{name: number(each[name]) if each.get(name) else None for name in names} for each in rows]
        return found

    def _patients(self) -> list[dict[str, Any]]:
        groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in self.rows:
            if row["status"] == "ok":
                groups[str(row["patient"])].append(row)
        return [
            {
                "patient": name,
                "images": len(rows),
                **{key: statistics(row[key] for row in rows)["mean"] for key in self.scores},
            }
            for name, rows in groups.items()
        ]


def prediction_scores(rows: Iterable[dict[str, Any]], low: float) -> dict[str, Any]:
    """Compare predicted with true Dice.

    Args:
        rows: rows with "predicted_dice", its interval, and "dice".
        low: Dice below which a mask is bad.

    Returns:
        "n"; "spearman", the rank correlation (None where all are equal); "mean_absolute_error"; "coverage", the share
        of masks whose Dice lies in its interval; "auroc", the probability that a bad mask has the lower prediction of a
        bad and a good one (None where all are alike). Empty for less than two such rows.
    """
    known = [row for row in rows if row.get("predicted_dice") is not None and row.get("dice") is not None]
    if len(known) < 2:
        return {}
    found, below, above, true = (np.array([row[key] for row in known], float) for key in (*QUALITY, "dice"))
    bad = true < low
    pairs = found[bad][:, None], found[~bad][None]
    auroc = ((pairs[0] < pairs[1]) + 0.5 * (pairs[0] == pairs[1])).mean() if bad.any() and not bad.all() else None
    vary = np.ptp(found) > 0 and np.ptp(true) > 0
    return {
        "n": len(known),
        "spearman": rounded(spearmanr(found, true).statistic) if vary else None,
        "mean_absolute_error": rounded(np.abs(found - true).mean()),
        "coverage": rounded(((below <= true) & (true <= above)).mean()),
        "auroc": rounded(auroc),
    }


def urgency(row: Mapping[str, Any]) -> tuple[int, float]:
    """Where a row belongs: failures first, then masks from the lowest predicted Dice on, then those without one."""
    dice = row["predicted_dice"]
    return {"failed": 0, "ok": 1, "skipped": 2}[row["status"]], 2.0 if dice is None else dice


def shown(value: Any) -> Any:
    """Write a number with four digits or as a whole one; all else stays as it is."""
    if not isinstance(value, float):
        return "" if value is None else value
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def versions() -> dict[str, str]:
    """What a run is made with, by name."""
    return {
        "command": shlex.join(sys.orig_argv),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "monai-semgan": __version__,
        "MONAI": monai.__version__,
        "PyTorch": torch.__version__,
        "Python": f"{platform.python_version()}, {platform.platform()}",
    }


def ranges(numbers: Sequence[int]) -> str:
    """Write rising numbers, those that follow each other as "3 to 5", which no spreadsheet takes for a date."""
    runs: list[list[int]] = []
    for each in numbers:
        if runs and each == runs[-1][-1] + 1:
            runs[-1].append(each)
        else:
            runs.append([each])
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def caption(prediction: Prediction) -> str:
    """What the overlay of a mask says of it."""
    quality = prediction.quality
    told = [SUSPICIOUS.upper()] if prediction.check == SUSPICIOUS else []
    if quality is not None:
        told.append(f"predicted Dice {quality.dice:.2f} ({quality.low:.2f} to {quality.high:.2f})")
    return ", ".join(told)


def rounded(value: float | None) -> float | None:
    """Round to six decimals; what is missing or not a number becomes None, an empty cell."""
    return round(float(value), 6) if value is not None and np.isfinite(value) else None


def number(text: str) -> float:
    """Read a number of a report; one without a point is whole."""
    return int(text) if text.isdigit() else float(text)


def statistics(values: Iterable[float | None]) -> dict[str, Any]:
    """Compute number, mean, standard deviation (n - 1), median, minimum and maximum of the values there are."""
    array = np.array([value for value in values if value is not None], dtype=np.float64)
    some, two = len(array) > 0, len(array) > 1
    return {
        "n": len(array),
        "mean": rounded(array.mean()) if some else None,
        "std": rounded(array.std(ddof=1)) if two else None,
        "median": rounded(float(np.median(array))) if some else None,
        "min": rounded(array.min()) if some else None,
        "max": rounded(array.max()) if some else None,
    }


def in_frame(reconstruction: torch.Tensor, frame: Sequence[int] | None, shape: Sequence[int]) -> torch.Tensor:
    """Put the reconstruction ``(C, h, w)`` of the picture within a frame where the picture is, black around it."""
    height, width = shape
    if frame is None or tuple(frame) == (0, height, 0, width):
        return reconstruction
    top, bottom, left, right = frame
    whole = reconstruction.new_full((len(reconstruction), height, width), -1.0)
    size = (bottom - top, right - left)
    whole[:, top:bottom, left:right] = F.interpolate(reconstruction[None], size, mode="bilinear", antialias=True)[0]
    return whole


def source_of(prediction: Prediction) -> Any:
    """The path of an image, or the files that it was read from; None where it is no file."""
    meta = getattr(prediction.image, "meta", {}) or getattr(prediction.mask, "meta", {})
    return meta.get("files") or meta.get("filename_or_obj")


def plain_text(cell: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet would take for a formula; numbers stay."""
    if not isinstance(cell, str):
        return cell
    text = formats.text_of(cell)
    return f"'{text}" if FORMULA.match(text) else text


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[dict[str, Any]], append: bool = False) -> None:
    """Append rows to a CSV file, or write it anew with a header, all or nothing."""
    target = path if append else path.with_name(path.name + ".part")
    with target.open("a" if append else "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns))
        if not append:
            writer.writeheader()
        writer.writerows({key: plain_text(cell) for key, cell in row.items()} for row in rows)
    target.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file, all or nothing."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def read_csv(path: Path) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Read the columns and the rows that :func:`write_csv` wrote, as they were given to it."""
    # spreadsheets write a mark first
    text = path.read_text(encoding="utf-8-sig")
    # a kill may have cut the last line short
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    rows = [
        {key: cell[1:] if FORMULA.match(cell[1:]) and cell[0] == "'" else cell for key, cell in row.items()}
        for row in reader
    ]
    return tuple(reader.fieldnames or ()), rows
