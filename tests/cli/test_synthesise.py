# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from monai_semgan.cli import main
from monai_semgan.networks.nets import SemanticGAN
from tests.tiny_bundle import TINY_NETWORK, tiny_bundle, tiny_data


@pytest.fixture
def bundle(tmp_path: Path, repository: Path) -> Path:
    """A bundle with a tiny network of random weights that draws images."""
    root = tiny_bundle(tmp_path, repository)
    network = SemanticGAN(**TINY_NETWORK)
    for head in network.encoder.heads:
        torch.nn.init.normal_(head.linear.weight)
    network.prior.fit(torch.randn(9, network.generator.num_codes, network.generator.latent_dim))
    (root / "models").mkdir()
    torch.save(network.state_dict(), root / "models" / "model.pt")
    return root


def test_a_unet_learns_from_what_was_written_and_judges_what_is_written_next(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_data(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    words = ["synthesise", str(bundle), "first", "--number", "3", "--pieces", "0"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert told.startswith("kept 3 of ") and "first/datalist.json" in told
    settings = [word for pair in ("max_epochs=1", "steps_per_epoch=1") for word in ("--set", pair)]
    lists = ["--datalist", "first/datalist.json", "--train-list", "synthetic", "--stages", "unet"]
    assert main(["train", str(bundle), "--output", "runs", *lists, *settings]) == 0
    words = ["synthesise", str(bundle), "second", "--number", "2", "--pieces", "0", "--seed", "9"]
    words += ["--teacher", "runs/unet/model.pt", "--agreement", "0", "--truncation", "0.5"]
    words += ["--datalist", str(data), "--list", "unlabeled", "train_2", "--originality", "0", "--variety", "0"]
    assert main(words) == 0
    with open("second/samples.csv", newline="") as file:
        row = next(csv.DictReader(file))
    assert row["seed"] == "9" and row["truncation"] == "0.5"
    assert 0 <= float(row["agreement"]) <= 1 and float(row["originality"]) > 0


def test_mistakes_end_without_a_traceback(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_data(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for words, message in (
        (["--number", "0"], "error: number is 0"),
        (["--truncation", "0"], "error: truncation is 0.0"),
        (["--teacher", "none.pt"], "error: teacher none.pt does not exist"),
        (["--datalist", "none.json"], "error: datalist none.json does not exist"),
        (["--datalist", str(data), "--list", "nowhere"], "Data list nowhere not specified, there are unlabeled"),
        (["--agreement", "2"], "error: agreement is 2.0, it must lie between 0 and 1"),
        (["--device", "cudax"], "error: device is 'cudax'"),
    ):
        assert main(["synthesise", str(bundle), "out", *words]) == 1
        assert message in capsys.readouterr().err
