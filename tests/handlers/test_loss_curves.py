# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from ignite.engine import Engine, Events
from PIL import Image

from monai_semgan.handlers.loss_curves import LossCurves
from tests.tiny_gan import tiny_trainer


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def engine(outputs: list[dict], epochs: int, path: Path, interval: int = 10, start: int = 0) -> Engine:
    """An engine that yields the outputs one by one and goes on from an epoch."""
    made = Engine(lambda engine, batch: outputs[engine.state.iteration - 1])
    LossCurves(path, interval=interval).attach(made)
    length = len(outputs) // epochs

    @made.on(Events.STARTED)
    def resume() -> None:
        made.state.epoch, made.state.iteration = start, start * length

    made.run(range(length), max_epochs=epochs)
    return made


def test_means_over_epochs(tmp_path: Path) -> None:
    outputs = [{"a": float(i), "b": 0.5 * i, "count": i, "image": None} for i in range(6)]
    path = tmp_path / "deep" / "losses.csv"
    engine(outputs, 2, path)
    assert rows(path) == [{"epoch": "1", "a": "1.0", "b": "0.5"}, {"epoch": "2", "a": "4.0", "b": "2.0"}]


def test_picture_has_a_panel_a_loss(tmp_path: Path) -> None:
    outputs = [{name: float(i) for name in "abcdef"} for i in range(3)]
    engine(outputs, 3, tmp_path / "losses.csv")
    picture = Image.open(tmp_path / "losses.png")
    # four panels of 320 x 220 px in a line, two lines
    assert picture.size == (1280, 440)


def test_picture_at_the_interval(tmp_path: Path) -> None:
    drawn: list[int] = []

    class Counted(LossCurves):
        def draw(self) -> None:
            drawn.append(self.rows[-1]["epoch"])

    made = Engine(lambda engine, batch: {"a": 1.0})
    Counted(tmp_path / "losses.csv", interval=2).attach(made)
    made.run(range(2), max_epochs=5)
    assert drawn == [2, 4, 5]


def test_rows_of_the_run_before_are_kept_up_to_its_epoch(tmp_path: Path) -> None:
    outputs = [{"a": i / 3} for i in range(8)]
    straight, resumed = tmp_path / "straight.csv", tmp_path / "resumed.csv"
    engine(outputs, 4, straight)
    engine(outputs[:6], 3, resumed)
    # the checkpoint is of epoch 2: the row of epoch 3 is made anew
    engine(outputs, 4, resumed, start=2)
    assert resumed.read_text() == straight.read_text()


def test_new_run_starts_a_new_file(tmp_path: Path) -> None:
    engine([{"a": 1.0, "old": 2.0}] * 3, 3, tmp_path / "losses.csv")
    engine([{"a": 5.0}] * 2, 2, tmp_path / "losses.csv")
    assert rows(tmp_path / "losses.csv") == [{"epoch": "1", "a": "5.0"}, {"epoch": "2", "a": "5.0"}]


def test_half_written_file_never_takes_the_place_of_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "losses.csv"
    engine([{"a": 1.0}] * 2, 2, path)
    before = path.read_text()

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(csv.DictWriter, "writerows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine([{"a": 1.0}] * 3, 3, path, start=2)
    assert path.read_text() == before


def test_follows_a_trainer(tmp_path: Path) -> None:
    trainer = tiny_trainer(steps=3)
    LossCurves(tmp_path / "losses.csv").attach(trainer)
    losses: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: losses.append(trainer.state.output[0]["g_loss"]))
    trainer.run()
    (row,) = rows(tmp_path / "losses.csv")
    assert float(row["g_loss"]) == float(row["loss"]) == pytest.approx(sum(losses) / 3)
    assert {"d_loss", "r1_image", "path_length", "augment_p"} <= set(row)
    assert Image.open(tmp_path / "losses.png").width == 1280
