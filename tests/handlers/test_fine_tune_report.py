# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from ignite.engine import Engine

from monai_semgan.handlers import FineTuneReport


def run(folder: Path, scores: list[float]) -> dict[str, object]:
    """A training of two steps whose validator gives the scores."""
    validator = Engine(lambda engine, batch: None)
    validator.data_loader = SimpleNamespace(dataset=[0, 1, 2])
    validator.state.key_metric_name = "dice"
    trainer = Engine(lambda engine, batch: None)
    trainer.loader = SimpleNamespace(images=[0] * 7)
    FineTuneReport(folder / "model_v2.json", validator=validator, start="models/model.pt", labels=4).attach(trainer)
    for score in scores:
        validator.state.metrics["dice"] = score
        validator.run([0])
    trainer.run([0, 0])
    return json.loads((folder / "model_v2.json").read_text())


def test_the_report_has_the_scores_before_and_after(tmp_path: Path) -> None:
    assert run(tmp_path, [0.5, 0.7, 0.75]) == {
        "start": "model.pt",
        "labels": 4,
        "images": 7,
        "steps": 2,
        "held_out_labels": 3,
        "dice_before": 0.5,
        "dice_after": 0.75,
    }


def test_without_held_out_labels_there_are_no_scores(tmp_path: Path) -> None:
    report = run(tmp_path, [])
    assert report["held_out_labels"] == 0 and report["dice_before"] is None and report["dice_after"] is None
