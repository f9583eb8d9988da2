# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import errno
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, MetaTensor
from monai.data.utils import no_collation
from monai.engines import Evaluator
from monai.transforms import Compose, LoadImaged, Orientationd
from PIL import Image

from monai_semgan.data import FAILURE, SKIPPED, CohortDataset, cohort
from monai_semgan.formats import MASK_FORMATS, FormatReader, read
from monai_semgan.metrics import SCORES
from monai_semgan.networks.nets.dice_calibration import Quality
from monai_semgan.predictor import Prediction
from monai_semgan.reports import CohortReport
from monai_semgan.reports.cohort_report import (
    COLUMNS,
    caption,
    in_frame,
    prediction_scores,
    ranges,
    read_csv,
    write_csv,
)
from monai_semgan.transforms import DisplayOrderd
from monai_semgan.transforms.scores import AXIAL, LABELS
from tests.image_files import gradient, write_png
from tests.volume_files import BACK, FEET, FRONT, LEFT, affine_of, write_volume

DICE = {"a": 0.9, "b": 0.7, "c": 0.5}
SIZES = {"a": 412.5, "b": 70.123, "c": None}
MASK_COLOUR = (255, 128, 0)


def run(
    folder: Path,
    scores: Sequence[str] = (),
    resume: bool = False,
    quality: dict[str, Quality] | None = None,
    measurements: dict[str, tuple[str, str]] | None = None,
) -> tuple[CohortReport, Evaluator]:
    """Three images, of which two are of one patient, and one that cannot be read."""

    def predict(engine: Any, items: list[dict[str, Any]]) -> list[Prediction]:
        distance = {"hausdorff95_pixel": 2.0, "hausdorff95_mm": float("nan")}
        return [
            Prediction(item, failure=item[FAILURE])
            if FAILURE in item
            else Prediction(
                item,
                mask=MetaTensor(torch.ones(2, 2), meta={"file_format": "picture", "spatial_shape": [2, 2]}),
                image=torch.zeros(1, 4, 4),
                # one pixel of 16 is 0.5 off
                reconstruction=torch.eye(4)[None] * torch.tensor([0.5, 0, 0, 0]),
                quality=(quality or {}).get(item["name"]),
                measurements={"lung_area": {"cm2": SIZES[item["name"]], "pixels": 70980}, "ratio": {"1": 0.5}},
                scores={"dice": DICE[item["name"]], "iou": 0.5, "thresholded_iou": 0.0, **distance},
            )
            for item in items
        ]

    items: list[dict[str, Any]] = [{"image": "", "file": f"{name}.png", "name": name} for name in DICE]
    items[0]["patient"] = items[1]["patient"] = "p1"
    items.append({"file": "d.png", "name": "d", FAILURE: 'd.png is damaged, "truncated"'})
    report = CohortReport(folder, scores=scores, resume=resume, measurements=measurements)
    dataset = CohortDataset(items, finished=report.finished)
    loader = DataLoader(dataset, batch_size=2, num_workers=0, collate_fn=no_collation)
    engine = Evaluator("cpu", loader, iteration_update=predict, val_handlers=[report], decollate=False)
    engine.run()
    return report, engine


def test_predictions_are_compared_with_the_truth() -> None:
    names = ("predicted_dice", "predicted_dice_low", "predicted_dice_high", "dice")
    values = [(0.9, 0.8, 0.95, 0.92), (0.8, 0.7, 0.9, 0.6), (0.95, 0.9, 1.0, 0.97), (0.85, 0.6, 0.9, 0.7)]
    found = prediction_scores([dict(zip(names, row)) for row in values], 0.85)
    assert found["n"] == 4 and found["spearman"] == pytest.approx(1.0)
    assert found["mean_absolute_error"] == pytest.approx((0.02 + 0.2 + 0.02 + 0.15) / 4)
    assert found["coverage"] == 0.75 and found["auroc"] == 1.0
    assert prediction_scores([dict(zip(names, row)) for row in values], 0.1)["auroc"] is None
    assert prediction_scores([dict.fromkeys(names)] * 3, 0.85) == {}
    assert prediction_scores([dict(zip(names, values[0]))] * 2, 0.85)["spearman"] is None


def test_masks_to_look_at_come_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    quality = {"a": Quality(0.9612, 0.94, 0.98), "b": Quality(0.62, 0.4, 0.8), "c": Quality(0.85, 0.8, 0.9)}
    report, _ = run(tmp_path / "out", quality=quality)
    rows = table(report.path)
    assert [row["file"] for row in rows] == ["d.png", "b.png", "c.png", "a.png"]
    assert [row["look"] for row in rows] == ["", "look", "", ""]
    assert [row["predicted_dice"] for row in rows] == ["", "0.62", "0.85", "0.961"]
    assert (rows[1]["predicted_dice_low"], rows[1]["predicted_dice_high"]) == ("0.4", "0.8")
    assert any("b.png: ok, predicted_dice 0.62" in text and "LOOK AT IT" in text for text in caplog.messages)
    # a run that goes on knows what it reads
    again, _ = run(tmp_path / "out", resume=True, quality=quality)
    assert table(again.path) == rows
    assert caption(Prediction({}, quality=quality["b"])) == "predicted Dice 0.62 (0.40 to 0.80)"
    assert caption(Prediction({})) == ""


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_and_a_log_line_for_each_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report, _ = run(tmp_path / "out")
    rows = table(tmp_path / "out" / "report.csv")
    assert list(rows[0]) == [*COLUMNS]
    assert [(row["file"], row["status"]) for row in rows] == [(f"{n}.png", "ok") for n in "abc"] + [("d.png", "failed")]
    assert rows[0]["mask"] == "masks/a_mask.png" and rows[0]["reconstruction_error"] == "0.125"
    assert rows[3]["message"] == 'd.png is damaged, "truncated"' and rows[3]["mask"] == ""
    lines = [record for record in caplog.records if record.name.endswith("cohort_report")]
    assert lines[0].getMessage() == f"[1/4] a.png: ok, reconstruction_error 0.125, {tmp_path}/out/masks/a_mask.png"
    assert lines[3].getMessage() == '[4/4] d.png: FAILED: d.png is damaged, "truncated"'
    assert lines[3].levelno == logging.ERROR
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["masks", "report.csv", "report.json"]
    assert report.failed == 1


def test_measurements_are_columns_and_json(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    columns = {
        "lung_area_cm2": ("lung_area", "cm2"),
        "lung_area_pixels": ("lung_area", "pixels"),
        "ratio": ("ratio", "1"),
    }
    report, _ = run(tmp_path, ["dice"], measurements=columns)
    rows = table(report.path)
    assert list(rows[0])[-5:] == [*columns, "patient", "dice"]
    assert [row["lung_area_cm2"] for row in rows] == ["412.5", "70.123", "", ""]
    assert [row["lung_area_pixels"] for row in rows] == ["70980", "70980", "70980", ""]
    told = [text.split("reconstruction_error 0.125, ")[1] for text in caplog.messages if ": ok" in text]
    assert told[0].startswith("lung area 412 cm2, ratio 0.5, ") and told[2].startswith("lung area 70980 pixels, ")
    images = json.loads((tmp_path / "report.json").read_text())["images"]
    assert [image["file"] for image in images] == ["a.png", "b.png", "c.png", "d.png"]
    assert images[2]["measurements"] == {"lung_area": {"cm2": None, "pixels": 70980}, "ratio": {"1": 0.5}}
    assert images[0]["dice"] == 0.9 and images[0]["mask"] == "masks/a_mask.png" and "lung_area_cm2" not in images[0]
    assert images[3]["status"] == "failed" and "measurements" not in images[3]
    # a run that goes on has the same
    first = (tmp_path / "report.json").read_text()
    run(tmp_path, ["dice"], resume=True, measurements=columns)
    assert table(report.path) == rows and (tmp_path / "report.json").read_text() == first


def test_scores_by_patient_and_their_summary(tmp_path: Path) -> None:
    _, engine = run(tmp_path, list(SCORES))
    rows = table(tmp_path / "report.csv")
    assert [row["dice"] for row in rows] == ["0.9", "0.7", "0.5", ""]
    assert [row["patient"] for row in rows] == ["p1", "p1", "c", "d"]
    patients = table(tmp_path / "patients.csv")
    assert [(row["patient"], row["images"], row["dice"]) for row in patients] == [("p1", "2", "0.8"), ("c", "1", "0.5")]
    summary = json.loads((tmp_path / "summary.json").read_text())
    values = [0.8, 0.5]
    assert summary["dice"] == pytest.approx(
        {"n": 2, "mean": np.mean(values), "std": np.std(values, ddof=1), "median": 0.65, "min": 0.5, "max": 0.8},
        abs=1e-6,
    )
    assert summary["hausdorff95_mm"] == {"n": 0, **dict.fromkeys(["mean", "std", "median", "min", "max"])}
    assert (summary["images"], summary["failed"], summary["patients"]) == (4, 1, 2)
    assert {row["score"]: row["mean"] for row in table(tmp_path / "summary.csv")}["dice"] == "0.65"
    assert engine.state.metrics == pytest.approx(
        {"dice": 0.65, "iou": 0.5, "thresholded_iou": 0, "hausdorff95_pixel": 2}
    )


def test_the_listed_scores_are_the_columns_and_the_first_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scores = ["thresholded_iou", "dice"]
    _, engine = run(tmp_path, scores)
    rows = table(tmp_path / "report.csv")
    assert list(rows[0])[-3:] == ["patient", *scores]
    assert [row["score"] for row in table(tmp_path / "summary.csv")] == scores
    assert list(engine.state.metrics) == scores
    assert "a.png: ok, thresholded_iou 0.0, reconstruction_error 0.125, " in caplog.text
    with pytest.raises(ValueError, match=r"scores has \['jaccard'\], known are .*'iou'"):
        CohortReport(tmp_path, scores=["iou", "jaccard"])


def test_exit_code(tmp_path: Path) -> None:
    report, _ = run(tmp_path)
    with pytest.raises(SystemExit, match=r"1 of 4 images failed: see the messages in .*report\.csv"):
        report.exit_on_failure()
    report.rows = report.rows[:3]
    report.exit_on_failure()
    report.rows = []
    with pytest.raises(SystemExit):
        report.exit_on_failure()


def test_an_interrupted_report_goes_on(tmp_path: Path) -> None:
    run(tmp_path, list(SCORES))
    path = tmp_path / "report.csv"
    whole, summary = path.read_text(), (tmp_path / "summary.json").read_text()
    # a failed image and a line that was cut short are done again
    lines = whole.splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[4], lines[1], lines[2], lines[3][:-4]]))
    report, engine = run(tmp_path, list(SCORES), resume=True)
    # c.png and the one that cannot be read
    assert set(report.finished) == {"a.png", "b.png", "c.png"} and engine.state.epoch_length == 1
    assert sorted(path.read_text().splitlines()) == sorted(whole.splitlines())
    assert (tmp_path / "summary.json").read_text() == summary
    assert engine.state.metrics["dice"] == json.loads(summary)["dice"]["mean"]


def test_a_report_of_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(ValueError, match=r"report\.csv has columns .* begin anew without resume"):
        run(tmp_path, list(SCORES), resume=True)


def predicted(stored: MetaTensor, mask: torch.Tensor, name: str, **more: Any) -> Prediction:
    """A prediction whose mask lies on the grid of a file."""
    return Prediction({"name": name, "file": name}, mask=MetaTensor(mask, meta=stored.meta), **more)


def write(report: CohortReport, prediction: Prediction) -> dict[str, str]:
    """One iteration of a report, and its row."""
    engine = Evaluator("cpu", [prediction], iteration_update=lambda engine, item: [item], decollate=False)
    engine.data_loader = DataLoader([prediction], collate_fn=no_collation)
    report.attach(engine)
    engine.state.output = [prediction]
    report.started(engine)
    report.iteration_completed(engine)
    return table(report.output_dir / "report.csv")[0]


def test_mask_and_overlay_of_a_picture_are_upright(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", gradient(400, 300).astype(np.uint8))
    image = read(path, 2)
    mask, label = torch.zeros(2, 300, 400)
    # stored column by column: the upper left and the lower right of the picture
    mask[:150, :200] = 1
    label[150:, 200:] = 1
    orient = DisplayOrderd("image")
    display = Compose([LoadImaged("image", reader=FormatReader(2), ensure_channel_first=True), orient])
    report = CohortReport(tmp_path / "out", display=display, orient=orient, classes={"lung": MASK_COLOUR})
    row = write(report, predicted(image, mask, "sub/a", label=label[None]))
    assert row["mask"] == "masks/sub/a_mask.png" and row["overlay"] == "overlays/sub/a_overlay.png"
    written = np.asarray(Image.open(tmp_path / "out" / row["mask"]))
    assert np.array_equal(written == 255, mask.T.numpy() == 1)
    plain, outlined = np.split(np.asarray(Image.open(tmp_path / "out" / row["overlay"])), 2, axis=1)
    assert (plain[:40, :40] == 255).all() and plain[133, 0].max() < 128
    for colour, place in ((MASK_COLOUR, np.s_[:202, :152]), ((0, 200, 255), np.s_[198:, 148:])):
        line = (outlined == colour).all(axis=2)
        assert line.any() and line.sum() == line[place].sum()


def test_files_of_a_coronal_volume(tmp_path: Path) -> None:
    # 24 columns of 1 mm, 10 slices to the feet, 6 rows of 2 mm
    affine = affine_of(LEFT, FEET, FRONT, spacing=(1.0, 5.0, 2.0))
    values = np.full((24, 10, 6), -1.0, dtype=np.float32)
    # not of so few values that it is a label map
    values[4:20, :, 1:5] = np.linspace(0.5, 1.0, 16)[:, None, None]
    image = read(write_volume(tmp_path / "a.nii.gz", values, affine), 3)
    mask = torch.zeros(24, 10, 6)
    mask[8:14, 3:9, 2:4] = 1
    shown, drawn = torch.zeros(2, 1, 4, 4, 3)
    drawn[..., 1] = 0.5
    drawn[0, 0, 0, 2] = 1.0
    orient = Orientationd("image", AXIAL, labels=LABELS)
    display = Compose([LoadImaged("image", reader=FormatReader(3), ensure_channel_first=True), orient])
    report = CohortReport(tmp_path / "out", display=display, orient=orient, classes={"lung": MASK_COLOUR})
    # as many errors as the volume has slices
    errors = {"image": torch.zeros(1, 4, 4, 10), "reconstruction": torch.full((1, 4, 4, 10), 0.25)}
    row = write(report, predicted(image, mask, "p1/a", **errors))
    written = nib.load(tmp_path / "out" / row["mask"])
    assert np.array_equal(np.asarray(written.dataobj), mask.numpy())
    np.testing.assert_allclose(written.affine, affine)
    page = np.asarray(Image.open(tmp_path / "out" / row["overlay"]))
    # 24 x 12 mm a slice, six slices show the mask
    assert page.shape == (2 * 160, 4 * 320, 3) and (page[:160, :320] == MASK_COLOUR).all(-1).any()
    prediction = predicted(image, mask, "b", image=shown, reconstruction=drawn)
    # one of sixteen pixels is 1 off
    assert prediction.slice_errors == [0.0, 0.5, 0.25]
    write(CohortReport(tmp_path / "other"), prediction)
    lines = (tmp_path / "other" / "masks" / "b_slices.csv").read_text().splitlines()
    assert lines == ["slice,reconstruction_error", "1,0.0", "2,0.5", "3,0.25"]


def test_slices_to_look_at_are_named_and_compared_with_the_label(tmp_path: Path) -> None:
    # stored from the head, so that the network's first slice is the last
    affine = affine_of(LEFT, BACK, FEET, spacing=(1.0, 1.0, 3.0))
    values = np.random.default_rng(0).normal(size=(8, 8, 6)).astype(np.float32)
    image = read(write_volume(tmp_path / "a.nii.gz", values, affine), 3)
    mask, label = torch.zeros(2, 8, 8, 6)
    mask[2:6, 2:6, :4] = 1
    label[2:6, 2:4, :3] = 1
    dice = [1.0, 0.8, 0.7, 0.95, 0.5, 0.9]
    quality = Quality(0.9, 0.8, 0.95, tuple(Quality(each, each - 0.1, each) for each in dice))
    orient = Orientationd("image", AXIAL, labels=LABELS)
    display = Compose([LoadImaged("image", reader=FormatReader(3), ensure_channel_first=True), orient])
    report = CohortReport(
        tmp_path / "out", display=display, orient=orient, classes={"organ": MASK_COLOUR}, scores=["dice"]
    )
    prediction = predicted(image, mask, "a")
    prediction.quality, prediction.label, prediction.scores = quality, label, {"dice": 0.6}
    row = write(report, prediction)
    assert (row["look"], row["look_slices"], row["predicted_dice"]) == ("", "2 to 3, 5", "0.9")
    rows = table(tmp_path / "out" / "masks" / "a_slices.csv")
    assert [each["predicted_dice"] for each in rows] == ["1.0", "0.8", "0.7", "0.95", "0.5", "0.9"]
    assert [each["look"] for each in rows] == ["", "look", "look", "", "look", ""]
    assert [each["dice"] for each in rows] == ["", "", "0.0", *["0.666667"] * 3]
    told = report._summarise(Engine(lambda engine, batch: None), 1)["predicted_dice_of_slices"]
    assert told["n"] == 4 and told["mean_absolute_error"] == pytest.approx(np.mean([0.7, 0.283333, 0.166667, 0.233333]))


def test_runs_of_numbers_in_words() -> None:
    assert ranges([]) == "" and ranges([3]) == "3" and ranges([1, 2, 4, 6, 7, 8]) == "1 to 2, 4, 6 to 8"


def test_what_is_no_image_is_skipped_and_warnings_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mask = MetaTensor(torch.ones(2, 2), meta={"file_format": "picture", "spatial_shape": [2, 2]})
    good = Prediction({"file": "a.dcm", "name": "a"}, mask=mask, warnings=("a.dcm, patient 7: padded", "tilted"))
    other = Prediction({"file": "SR1", "name": "SR1", SKIPPED: True}, failure="SR1 is no image (SR): passed over")
    report = CohortReport(tmp_path / "out")
    row = write(report, good)
    assert (row["status"], row["message"]) == ("ok", "a.dcm, patient 7: padded; tilted")
    assert caplog.text.count("padded") == 1
    report.exit_on_failure()
    row = write(report, other)
    assert (row["status"], row["message"]) == ("skipped", "SR1 is no image (SR): passed over")
    assert report.failed == 0
    with pytest.raises(SystemExit, match="no images"):
        report.exit_on_failure()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\t=1", "'=1", "''-", "a=1", "plain\nname", "thor\xe4x"])
def test_no_cell_is_a_formula_and_all_are_read_as_they_were(tmp_path: Path, text: str) -> None:
    write_csv(tmp_path / "a.csv", ("file", "score"), [{"file": text, "score": -0.5}])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        cell = list(csv.reader(file))[1][0]
    assert cell[0] not in "=+-@\t\r" and cell.lstrip("'") == text.lstrip("'")
    assert read_csv(tmp_path / "a.csv") == (("file", "score"), [{"file": text, "score": "-0.5"}])


def test_resuming_does_another_image_of_the_same_name(tmp_path: Path) -> None:
    chain = Compose([LoadImaged("image", reader=FormatReader(2), ensure_channel_first=True)])

    def go_on(folder: str) -> list[str]:
        done = []

        def predict(engine: Any, items: list[dict[str, Any]]) -> list[Prediction]:
            done.extend(item["file"] for item in items)
            return [
                Prediction(i, mask=MetaTensor(i["image"][0] > 9, meta=i["image"].meta), image=i["image"]) for i in items
            ]

        report = CohortReport(tmp_path / "out", resume=True)
        dataset = CohortDataset(cohort(tmp_path / folder), chain, finished=report.finished)
        loader = DataLoader(dataset, batch_size=2, collate_fn=no_collation) if len(dataset) else []
        if loader:
            Evaluator("cpu", loader, iteration_update=predict, val_handlers=[report], decollate=False).run()
        return done

    for folder, rows in (("a", 40), ("b", 50)):
        (tmp_path / folder).mkdir()
        write_png(tmp_path / folder / "x.png", gradient(rows).astype(np.uint8))
    write_png(tmp_path / "a" / "y.png", gradient().astype(np.uint8))
    assert go_on("a") == ["x.png", "y.png"] and go_on("a") == []
    assert go_on("b") == ["x.png"] and go_on("b") == []
    rows = read_csv(tmp_path / "out" / "report.csv")[1]
    assert sorted(row["file"] for row in rows) == ["x.png", "y.png"]
    assert Image.open(tmp_path / "out" / "masks" / "x_mask.png").size == (30, 50)
    # the first is another than what was done last
    assert go_on("a") == ["x.png"]


def test_the_reconstruction_lies_within_the_frame() -> None:
    drawn = torch.full((1, 8, 8), 0.5)
    placed = in_frame(drawn, (10, 30, 4, 44), (40, 50))
    assert placed.shape == (1, 40, 50) and (placed[:, 10:30, 4:44] == 0.5).all()
    assert (placed == -1).sum() == 40 * 50 - 20 * 40
    assert in_frame(drawn, (0, 40, 0, 50), (40, 50)) is drawn and in_frame(drawn, None, (40, 50)) is drawn


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    image = read(write_png(tmp_path / "a.png", gradient(40, 30).astype(np.uint8)), 2)
    (tmp_path / "masks").write_text("a file where a folder should be")
    row = write(CohortReport(tmp_path), predicted(image, torch.zeros(30, 40), "a"))
    assert row["status"] == "failed" and row["mask"] == "" and "masks" in row["message"]


def pictures(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "masks").rglob("*") if path.is_file())


def test_files_get_their_names_when_they_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = read(write_png(tmp_path / "a.png", gradient(40, 30).astype(np.uint8)), 2)
    prediction = predicted(image, torch.zeros(30, 40), "sub/a")

    def stopped(mask: MetaTensor, path: Path) -> Path:
        path.with_suffix(".png").write_bytes(b"half of it")
        # passes by what is done about errors, as a kill does
        raise KeyboardInterrupt

    monkeypatch.setitem(MASK_FORMATS, "half", stopped)
    prediction.mask.meta["formats"] = ["half"]
    with pytest.raises(KeyboardInterrupt):
        write(CohortReport(tmp_path / "out"), prediction)
    assert pictures(tmp_path / "out") == []
    prediction.mask.meta["formats"] = ["auto"]
    row = write(CohortReport(tmp_path / "out", resume=True), prediction)
    assert row["mask"] == "masks/sub/a_mask.png"
    assert [path.name for path in pictures(tmp_path / "out")] == ["a_mask.png"]
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_an_image_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = read(write_png(tmp_path / "a.png", gradient(40, 30).astype(np.uint8)), 2)
    prediction = predicted(image, torch.zeros(30, 40), "a")
    # the mask is written before the overlay
    report = CohortReport(tmp_path / "out", display=lambda item: {"image": torch.zeros(1)}, orient=lambda item: item)
    assert write(report, prediction)["status"] == "failed"
    prediction.failure = None
    assert write(CohortReport(tmp_path / "out"), prediction)["status"] == "ok"
    assert [path.name for path in pictures(tmp_path / "out")] == ["a_mask.png"]


def test_a_full_disk_ends_the_run_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = read(write_png(tmp_path / "a.png", gradient(40, 30).astype(np.uint8)), 2)
    prediction = predicted(image, torch.zeros(30, 40), "a")

    def full(mask: MetaTensor, path: Path) -> Path:
        path.with_suffix(".png").touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setitem(MASK_FORMATS, "full", full)
    prediction.mask.meta["formats"] = ["full"]
    with pytest.raises(OSError, match=rf"No space left on device, 0 of 1 images are done: '{tmp_path / 'out'}'"):
        write(CohortReport(tmp_path / "out"), prediction)
    assert pictures(tmp_path / "out") == [] and table(tmp_path / "out" / "report.csv") == []


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_images_whose_mask_is_gone_are_done_again(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    run(tmp_path)
    spoil(tmp_path / "masks" / "b_mask.png")
    report = CohortReport(tmp_path, resume=True)
    assert set(report.finished) == {"a.png", "c.png"}
    run(tmp_path, resume=True)
    assert set(report.finished) == {"a.png", "b.png", "c.png"}
    assert len(table(tmp_path / "report.csv")) == 4


def test_a_report_that_a_spreadsheet_marked_goes_on(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "report.csv"
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert set(CohortReport(tmp_path, resume=True).finished) == {"a.png", "b.png", "c.png"}
