# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator
from torch import nn

from monai_semgan.handlers import AverageValidationHandler, FineTuneReport


def test_the_average_is_validated_at_the_interval() -> None:
    seen: list[Any] = []
    trained, average = nn.Linear(1, 1), nn.Linear(1, 1)
    validator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[{"image": torch.zeros(1, 1), "label": torch.zeros(1, 1)}],
        network=trained,
        inferer=lambda inputs, network: (seen.append(network), network(inputs))[1],
    )
    trainer = Engine(lambda engine, batch: None)
    AverageValidationHandler(interval=2, validator=validator).attach(trainer)
    # a trainer makes its average after its handlers are attached
    trainer.ema = SimpleNamespace(average=average)
    trainer.run([0], max_epochs=5)
    assert len(seen) == 2
    assert all(network is average for network in seen)


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
