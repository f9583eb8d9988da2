# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from monai_semgan.apps import training
from monai_semgan.apps.new_bundle import make
from monai_semgan.apps.training import EVALUATION, SHARES, Clock, Job, choose_answer
from monai_semgan.bundle import Bundle
from monai_semgan.cli import main
from tests.bundle_runs import read_mask
from tests.organ import organ

SPEED = {"unet": 0.1, "gan": 0.3, "encoder": 0.3, "student": 0.25}
STAGES = list(SHARES)


def tiny(folder: Path, **data) -> Bundle:
    """A bundle for a training of seconds."""
    plan = folder / "given.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    steps = {"unet": 4, "gan": 2, "encoder": 2}
    values = {"size": 32, "seconds_per_step": SPEED, "hours": 0.001, "steps_per_epoch": steps}
    plan.write_text(yaml.safe_dump(values | {"channel_base": 64, "channel_max": 8, "latent_dim": 8}))
    return make(organ(folder / "data", **data), folder / "organ", plan=plan).bundle


def clock(folder: Path, hours: float, stages=STAGES) -> Clock:
    return Clock(folder / "time.json", hours, SHARES, stages)


def test_budgets_share_what_is_left(tmp_path):
    first = clock(tmp_path, 1.0)
    assert first.budget("unet") == pytest.approx(3600 * (1 - EVALUATION) * SHARES["unet"])
    # a stage that took longer costs the others
    first.add("unet", 2000.0, finished=True)
    left = 3600 * (1 - EVALUATION) - 2000
    coming = sum(SHARES[stage] for stage in STAGES[1:])
    assert first.budget("gan") == pytest.approx(left * SHARES["gan"] / coming)
    # an interrupted stage has what it took, and its share of the rest
    (tmp_path / "gan").mkdir()
    (tmp_path / "gan" / "time.json").write_text(json.dumps({"seconds": 100.0}))
    again = clock(tmp_path, 1.0)
    assert again.finished == ["unet"]
    assert again.budget("gan") == pytest.approx(100 + (left - 100) * SHARES["gan"] / coming)


@pytest.mark.parametrize(
    ("hours", "finished", "again"), [(1.0, STAGES, []), (1.5, ["gan"], []), (3.0, [], ["encoder"])]
)
def test_more_hours_lengthen_what_there_is(tmp_path, hours, finished, again):
    first = clock(tmp_path, 1.0)
    for stage in STAGES:
        first.add(stage, 3600 * (1 - EVALUATION) * SHARES[stage], finished=True)
    later = clock(tmp_path, hours)
    assert (later.finished, later.again) == (finished, again)
    if hours == 1.5:
        added = 0.5 * 3600 * (1 - EVALUATION)
        coming = 1 - SHARES["gan"]
        assert later.budget("unet") == pytest.approx(later.used("unet") + added * SHARES["unet"] / coming)


def scored(folder: Path, answer: str, values: dict[str, float]) -> None:
    path = folder / "evaluation" / answer / "val"
    path.mkdir(parents=True)
    rows = "".join(f"{patient},1,{value}\n" for patient, value in values.items())
    (path / "patients.csv").write_text(f"patient,images,dice\n{rows}")


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ({"student": 0.90, "unet": 0.89, "encoder": 0.80}, "student"),
        # too little better to be worth the time
        ({"student": 0.900, "unet": 0.901}, "student"),
        ({"student": 0.90, "unet": 0.92, "refined": 0.95}, "refined"),
        ({"unet": 0.9, "encoder": 0.91}, "encoder"),
    ],
)
def test_the_best_answer_on_val_is_chosen(tmp_path, scores, best):
    for answer, value in scores.items():
        scored(tmp_path, answer, {"a": value - 0.01, "b": value + 0.01})
    choose_answer(Job(Bundle("lung_xray"), tmp_path / "none.json", tmp_path), {})
    record = json.loads((tmp_path / "evaluation" / "answer.json").read_text())
    assert record["answer"] == best and record["means"] == pytest.approx(scores)
    assert "on 2 of val" in record["why"]


def test_two_answers_are_compared_on_the_images_that_both_did(tmp_path):
    scored(tmp_path, "student", {"a": 0.9, "b": 0.5, "c": 0.9})
    scored(tmp_path, "refined", {"a": 0.85, "c": 0.85})
    choose_answer(Job(Bundle("lung_xray"), tmp_path / "none.json", tmp_path), {})
    record = json.loads((tmp_path / "evaluation" / "answer.json").read_text())
    assert record["answer"] == "student" and record["means"] == pytest.approx({"student": 2.3 / 3, "refined": 0.85})
    assert record["why"].endswith("student 0.767, SemanticGAN, refined 0.850 (on 2).")


def test_the_few_images_of_the_slowest_do_not_choose_among_the_others(tmp_path):
    scored(tmp_path, "student", {"a": 0.8, "b": 0.95, "c": 0.95, "d": 0.95})
    scored(tmp_path, "unet", {"a": 0.9, "b": 0.8, "c": 0.8, "d": 0.8})
    scored(tmp_path, "refined", {"a": 0.5})
    choose_answer(Job(Bundle("lung_xray"), tmp_path / "none.json", tmp_path), {})
    assert json.loads((tmp_path / "evaluation" / "answer.json").read_text())["answer"] == "student"


def test_the_bundle_of_one_s_own_is_needed_or_a_datalist(tmp_path, capsys):
    assert main(["train", "lung_xray", "--output", str(tmp_path)]) == 1
    assert "--datalist" in capsys.readouterr().err


@pytest.mark.timeout(1200)
def test_from_new_to_masks_and_on(tmp_path, capsys):
    bundle = tiny(tmp_path)
    assert main(["train", str(bundle.root)]) == 0
    runs = bundle.root / "runs"
    page = (runs / "report.html").read_text()
    assert "By default this bundle answers with" in page and "<h2>test</h2>" in page and "http://" not in page
    images = [tmp_path / "data" / f"test_{i}.png" for i in range(2)]
    assert main(["segment", str(tmp_path / "data"), str(tmp_path / "out"), "--bundle", str(bundle.root)]) == 0
    for image in images:
        mask = read_mask(tmp_path / "out" / "masks" / f"{image.stem}_mask.png")
        assert mask.shape == np.asarray(Image.open(image)).shape and set(np.unique(mask)) <= {0, 255}
    # what is finished stays as it is
    before = {path: path.stat().st_mtime for path in runs.rglob("state.pt")}
    assert len(before) >= 3
    assert main(["train", str(bundle.root)]) == 0
    assert {path: path.stat().st_mtime for path in runs.rglob("state.pt")} == before
    capsys.readouterr()


def test_teachers_that_agree_on_nothing_leave_the_u_net_as_student(tmp_path, monkeypatch):
    from monai_semgan.data.taught_images import NoAgreement

    bundle = tiny(tmp_path)
    called = []

    def disagree(self, *files, **given):
        raise NoAgreement("none")

    monkeypatch.setattr(Bundle, "run", disagree)
    monkeypatch.setattr(training, "put_student", lambda *paths: called.append(paths))
    training.run_stage(Job(bundle, bundle.root / "datalist.json", tmp_path), "student", 1.0)
    assert len(called) == 1


@pytest.mark.timeout(1200)
@settings(
    max_examples=int(os.environ.get("SEMGAN_EXAMPLES", "2")),
    deadline=None,
    # each example is a training: a failing one is shown as it is
    phases=[Phase.generate],
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    side=st.integers(40, 1000),
    other=st.integers(40, 300),
    colour=st.booleans(),
    volume=st.booleans(),
    classes=st.integers(1, 20),
)
def test_any_size_kind_and_number_of_classes_from_new_to_masks(tmp_path_factory, side, other, colour, volume, classes):
    folder = tmp_path_factory.mktemp("organ")
    shape = (min(side, 64), min(other, 60), 4) if volume else (side, other)
    lists = {"train": 2, "unlabeled": 2, "val": 1, "test": 1}
    bundle = tiny(folder, shape=shape, colour=colour, classes=classes, lists=lists)
    assert main(["train", str(bundle.root)]) == 0
    name = "test_0.nii.gz" if volume else "test_0.png"
    assert main(["segment", str(folder / "data" / name), str(folder / "out"), "--bundle", str(bundle.root)]) == 0
    (file,) = (folder / "out" / "masks").glob("*_mask.*")
    mask = read_mask(file)
    assert mask.shape == (shape if volume else (side, other))
    known = {0, 255} if classes == 1 and not volume else set(range(classes + 1))
    assert set(np.unique(mask).tolist()) <= known
