# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_semgan import __version__
from monai_semgan.cli import COMMANDS, main, read_settings, segment
from tests.image_files import gradient, write_dicom, write_png
from tests.tiny_bundle import tiny_bundle, tiny_data, with_weights


@pytest.fixture
def bundle(tmp_path: Path, repository: Path) -> Path:
    """A bundle with a tiny network and random weights."""
    return with_weights(tiny_bundle(tmp_path, repository))


def report(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "report.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def ends(code: int, *words: object) -> None:
    """Run a command that argparse ends."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == code


def test_help_of_each_command_shows_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    ends(0, "--help")
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)
    for command in COMMANDS:
        ends(0, command, "--help")
        assert "(default: " in capsys.readouterr().out, command
    assert main([]) == 2
    capsys.readouterr()
    assert main(["--version"]) == 0 and capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["segment", "a", "b", "--prset", "fast"], "--preset"),
        (["segment", "a", "b", "--preset", "fats"], "fast"),
        (["segmnt", "a", "b"], "segment"),
        (["train", "lung", "--datalst", "x", "--output", "y", "--datalist", "z"], "--datalist"),
    ],
)
def test_the_nearest_right_word_is_named(words: list[str], nearest: str, capsys: pytest.CaptureFixture[str]) -> None:
    ends(2, *words)
    assert f"did you mean {nearest}?" in capsys.readouterr().err


def test_help_and_wrong_arguments_answer_at_once() -> None:
    for words, code in ((["segment", "--help"], 0), (["segment", "--nothing"], 2), (["--help"], 0)):
        start = time.process_time()
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "monai_semgan", *words], capture_output=True, text=True
        )
        assert done.returncode == code and time.process_time() - start < 5
        assert " torch" not in done.stderr and " monai." not in done.stderr


@pytest.mark.parametrize(
    "word, modality", [("MR", "mri"), ("mr", "mri"), ("MRI", "mri"), ("mri", "mri"), ("CT", "ct"), ("ct", "ct")]
)
def test_modalities_are_named_as_dicom_does_too(word: str, modality: str) -> None:
    parser = argparse.ArgumentParser()
    segment.add_arguments(parser)
    options = parser.parse_args(["in", "out", "--modality", word])
    settings = segment.inference_settings(options)
    assert settings["modality"] == settings["steps::read::reader::modality"] == modality


@pytest.mark.parametrize("name", ["20240101", "@home", "%x", "=a", "a b", "ä"])
def test_names_of_folders_are_text(bundle: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    write_png(tmp_path / name / f"{name}.png", gradient(40, 30).astype(np.uint8))
    assert main(["segment", name, f"{name}_out", "--bundle", str(bundle), "--steps", "0"]) == 0
    (row,) = report(Path(f"{name}_out")).values()
    assert row["status"] == "ok" and (Path(f"{name}_out") / row["mask"]).is_file()


def test_mistakes_end_without_a_traceback(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_png(tmp_path / "a.png", gradient(40, 30).astype(np.uint8))
    for words, message in (
        (["none", "out", "--bundle", bundle], "error: none does not exist"),
        ([tmp_path / "a.png", "out", "--bundle", "kidney"], "error: bundle kidney is no folder"),
        ([tmp_path / "a.png", "out", "--bundle", bundle, "--device", "cudax"], "error: device is 'cudax'"),
        (
            [tmp_path / "a.png", "out", "--bundle", bundle, "--weights", "none.pt"],
            "error: weights none.pt do not exist",
        ),
        (
            [tmp_path / "a.png", "out", "--bundle", bundle, "--set", "btch_size=3"],
            "error: setting btch_size is in none",
        ),
        (
            [tmp_path / "a.png", "out", "--bundle", bundle, "--set", "batch_size"],
            "error: --set batch_size is no ID=VALUE",
        ),
    ):
        assert main(["segment", *map(str, words)]) == 1
        assert message in capsys.readouterr().err


def pictures(folder: Path, number: int) -> Path:
    folder.mkdir()
    for index in range(number):
        write_png(folder / f"{index:03}.png", gradient(40, 30).astype(np.uint8))
    return folder


def test_what_is_wrong_is_told_before_torch_is_imported(tmp_path: Path, repository: Path) -> None:
    without_weights = tiny_bundle(tmp_path / "without", repository)
    for words in (
        ["segment", tmp_path / "none", "out"],
        ["segment", tmp_path, "out", "--bundle", "kidney"],
        ["segment", tmp_path, "out", "--weights", "none.pt"],
        ["segment", tmp_path, "out", "--batch-size", "0"],
        ["segment", tmp_path, "out", "--bundle", without_weights],
        ["evaluate", "none.json", "out"],
        ["calibrate", "kidney", "none.json"],
    ):
        command = [sys.executable, "-X", "importtime", "-m", "monai_semgan", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode and "error: " in done.stderr, words
        assert not re.search(r"\| +(torch|monai|ignite|numpy)\n", done.stderr), words


def test_an_interrupted_run_leaves_its_reports_and_goes_on(bundle: Path, tmp_path: Path) -> None:
    folder, out = pictures(tmp_path / "in", 200), tmp_path / "out"
    words = ["segment", str(folder), str(out), "--bundle", str(bundle), "--batch-size", "2"]
    running = subprocess.Popen(
        [sys.executable, "-m", "monai_semgan", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while running.poll() is None and not (out / "report.csv").is_file() or len(report(out)) < 3:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=120)
    assert running.returncode == 130
    done = len(report(out))
    assert 3 <= done < 200
    assert f"interrupted: {done} of 200 images are done, see {out}/report.csv; the same command with --resume" in told
    # quiet where no terminal is
    assert len(told.splitlines()) == 1
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<article") == done and f"{done} of 200" in page
    # what was not written yet is done then
    for path in sorted(folder.iterdir())[done + 3 :]:
        path.unlink()
    assert main([*words, "--resume"]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert len(report(out)) == page.count("<article") == done + 3 and "Interrupted" not in page


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_progress_is_shown_on_a_terminal(bundle: Path, tmp_path: Path) -> None:
    import pty

    folder = pictures(tmp_path / "in", 3)
    above, below = pty.openpty()
    start = time.monotonic()
    words = ["segment", str(folder), str(tmp_path / "out"), "--bundle", str(bundle), "--set", "html=false"]
    running = subprocess.Popen([sys.executable, "-m", "monai_semgan", *words], stdout=subprocess.DEVNULL, stderr=below)
    os.close(below)
    told, first = b"", 0.0
    # a terminal whose other end was closed cannot be read
    with contextlib.suppress(OSError):
        while part := os.read(above, 4096):
            first = first or time.monotonic() - start
            told += part
    os.close(above)
    assert running.wait() == 0
    assert told.startswith(b"semgan: loading torch and MONAI ...") and first < 3
    # an image a tick, all in one batch
    assert all(f"{number}/3 [".encode() in told for number in range(4))
    assert not (tmp_path / "out" / "report.html").exists() and not (tmp_path / "out" / "thumbnails").exists()


def test_resumes_when_asked_to(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in" / "a.png", gradient(40, 30).astype(np.uint8))
    words = ["segment", str(tmp_path / "in"), str(tmp_path / "out"), "--bundle", str(bundle), "--steps", "0"]
    assert main(words) == 0
    mask = tmp_path / "out" / report(tmp_path / "out")["a.png"]["mask"]
    first = mask.stat().st_mtime_ns
    assert main([*words, "--resume"]) == 0
    assert mask.stat().st_mtime_ns == first
    assert main(words) == 0
    assert mask.stat().st_mtime_ns > first
    second = mask.stat().st_mtime_ns
    # MONAI's command line gives text; the same configs understand it
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.yaml"]
    options = {"dataset_dir": tmp_path / "in", "output_dir": tmp_path / "out", "displayable_configs::refine_steps": 0}
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    for text, again in (("true", False), ("false", True)):
        done = subprocess.run([*command, "--resume", text], cwd=bundle, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        assert (mask.stat().st_mtime_ns > second) == again


def test_one_bad_image_does_not_lose_the_others(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in" / "a.png", gradient(40, 30).astype(np.uint8))
    (tmp_path / "in" / "b.png").write_text("junk")
    with pytest.raises(SystemExit, match="1 of 2 images failed"):
        main(["segment", str(tmp_path / "in"), str(tmp_path / "out"), "--bundle", str(bundle), "--steps", "0"])
    rows = report(tmp_path / "out")
    assert rows["a.png"]["status"] == "ok" and "damaged" in rows["b.png"]["message"]


def test_trains_and_evaluates_a_bundle_copied_alone(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All stages from a working directory elsewhere; the second call finds them finished."""
    datalist = tiny_data(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    values = ("max_epochs=1", "steps_per_epoch=1", "batch_size=2", "agreement=0")
    settings = [word for value in values for word in ("--set", value)]
    train = [
        "train",
        str(bundle),
        "--datalist",
        str(datalist),
        "--output",
        "runs",
        "--train-list",
        "train_2",
        *settings,
    ]
    for _ in range(2):
        assert main([*train, "--set", "amp=false"]) == 0
    weights = tmp_path / "runs" / "student" / "model.pt"
    evaluate = ["evaluate", str(datalist), "scores", "--bundle", str(bundle), "--weights", str(weights), "--steps", "0"]
    assert main(evaluate) == 0
    assert json.loads((tmp_path / "scores" / "summary.json").read_text())["images"] == 2
    unet = ["--unet", "--weights", str(tmp_path / "runs" / "unet" / "model.pt")]
    assert main([*evaluate[:3], "--bundle", str(bundle), *unet]) == 0

    assert main([*train, "--image-lists", "--stages", "student"]) == 0
    state = torch.load(weights, weights_only=True)
    for name, value in torch.load(tmp_path / "runs" / "unet" / "model.pt", weights_only=True).items():
        assert torch.equal(state["student." + name], value), name


def test_without_images_or_a_unet_there_is_no_student(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    datalist = str(tiny_data(tmp_path / "data"))
    train = ["train", str(bundle), "--datalist", datalist, "--output", str(tmp_path / "runs"), "--image-lists"]
    assert main([*train, "--stages", "student"]) == 1
    assert "train the stages unet, gan and encoder before student" in capsys.readouterr().err


def test_settings_are_read_as_yaml() -> None:
    assert read_settings(["a=1", "b::c=[1, 2]", "d=x=y", "e=false"]) == {"a": 1, "b::c": [1, 2], "d": "x=y", "e": False}


def test_several_formats_and_what_an_image_cannot_take(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "in"
    images.mkdir()
    uids = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4", "ImagerPixelSpacing": [2, 1]}
    write_dicom(images / "a.dcm", gradient(), **uids)
    write_png(images / "b.png", gradient().astype(np.uint8))
    words = ["segment", str(images), str(tmp_path / "out"), "--bundle", str(bundle), "--format", "seg,nifti"]
    assert main([*words, "--format", "png"]) == 0
    rows = report(tmp_path / "out")
    assert rows["a.dcm"]["mask"] == "masks/a_mask.dcm" and rows["b.png"]["mask"] == "masks/b_mask.nii.gz"
    assert rows["b.png"]["message"].count("seg is not written: b.png is no DICOM") == 1
    names = sorted(path.name for path in (tmp_path / "out" / "masks").iterdir())
    assert names == ["a_mask.dcm", "a_mask.nii.gz", "a_mask.png", "b_mask.nii.gz", "b_mask.png"]
    pixels = [float(rows[name]["lung_area_pixels"]) for name in ("a.dcm", "b.png")]
    assert float(rows["a.dcm"]["lung_area_cm2"]) == pytest.approx(pixels[0] * 2 / 100, rel=1e-5)
    assert rows["b.png"]["lung_area_cm2"] == ""
    # nothing is left to do
    before = (tmp_path / "out" / "masks" / "a_mask.dcm").stat().st_mtime_ns
    assert main([*words, "--resume"]) == 0
    assert (tmp_path / "out" / "masks" / "a_mask.dcm").stat().st_mtime_ns == before
    assert report(tmp_path / "out") == rows
    capsys.readouterr()
    assert main([*words[:-1], "nift"]) == 1
    assert "error: format nift is unknown: say auto, nifti, nrrd, png, seg" in capsys.readouterr().err
