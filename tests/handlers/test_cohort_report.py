# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.data import DataLoader
from monai.data.utils import no_collation
from torch import nn, zeros

from monai_semgan.data import FAILURE, CohortDataset
from monai_semgan.engines import SemanticGANEvaluator
from monai_semgan.handlers import CohortReport
from monai_semgan.metrics import SCORES

DICE = {"a": 0.9, "b": 0.7, "c": 0.5}


def run(folder: Path, scores: Sequence[str] = (), resume: bool = False) -> tuple[CohortReport, SemanticGANEvaluator]:
    """Three images, of which two are of one patient, and one that cannot be read."""

    def finish(item: dict[str, Any]) -> dict[str, Any]:
        name = item["name"]
        results = {"pred_file": str(folder / "masks" / f"{name}_mask.png"), "reconstruction_error": 0.125}
        distance = {"hausdorff95_pixel": 2.0, "hausdorff95_mm": float("nan")}
        return {**item, **results, "scores": {"dice": DICE[name], "iou": 0.5, "thresholded_iou": 0.0, **distance}}

    items = [{"image": zeros(1, 2, 2), "file": f"{name}.png", "name": name} for name in DICE]
    items[0]["patient"] = items[1]["patient"] = "p1"
    items.append({"file": "d.png", "name": "d", FAILURE: 'd.png is damaged, "truncated"'})
    report = CohortReport(folder, scores, resume=resume)
    dataset = CohortDataset(items, finished=report.finished)
    loader = DataLoader(dataset, batch_size=2, num_workers=0, collate_fn=no_collation)
    engine = SemanticGANEvaluator(
        "cpu", loader, nn.Identity(), postprocessing=finish, record_failures=True, val_handlers=[report]
    )
    engine.run()
    return report, engine


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_and_a_log_line_for_each_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report, _ = run(tmp_path / "out")
    rows = table(tmp_path / "out" / "report.csv")
    assert list(rows[0]) == ["file", "status", "message", "mask", "overlay", "reconstruction_error"]
    assert [(row["file"], row["status"]) for row in rows] == [(f"{n}.png", "ok") for n in "abc"] + [("d.png", "failed")]
    assert rows[0]["mask"] == "masks/a_mask.png" and rows[0]["reconstruction_error"] == "0.125"
    assert rows[3]["message"] == 'd.png is damaged, "truncated"' and rows[3]["mask"] == ""
    lines = [record for record in caplog.records if record.name.endswith("cohort_report")]
    assert lines[0].getMessage() == f"[1/4] a.png: ok, reconstruction_error 0.125, {tmp_path}/out/masks/a_mask.png"
    assert lines[3].getMessage() == '[4/4] d.png: FAILED: d.png is damaged, "truncated"'
    assert lines[3].levelno == logging.ERROR
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.csv"]
    assert report.failed == 1


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
        CohortReport(tmp_path, ["iou", "jaccard"])


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
    assert report.finished == {"a.png", "b.png", "c.png"} and engine.state.epoch_length == 1
    assert sorted(path.read_text().splitlines()) == sorted(whole.splitlines())
    assert (tmp_path / "summary.json").read_text() == summary
    assert engine.state.metrics["dice"] == json.loads(summary)["dice"]["mean"]


def test_a_report_of_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(ValueError, match=r"report\.csv has columns .* begin anew without resume"):
        run(tmp_path, list(SCORES), resume=True)
