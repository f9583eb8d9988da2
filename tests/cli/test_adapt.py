# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_semgan.bundle import Bundle
from monai_semgan.cli import main
from tests.image_files import write_png
from tests.tiny_bundle import tiny_bundle, tiny_data
from tests.volume_files import BACK, HEAD, LEFT, affine_of, ellipsoid, write_volume

SHAPE = (40, 36, 5)
SHORT = ["--set", "steps_per_epoch=2", "--set", "max_epochs=1", "--set", "agreement=0.0", "--device", "cpu"]


def with_student(bundle: Path) -> Path:
    """Give a tiny bundle random weights, a student's among them; returns the bundle."""
    (bundle / "models").mkdir()
    torch.manual_seed(0)
    network = Bundle(bundle).parser().get_parsed_content("network")
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    return bundle


def changed(before: Path, after: Path) -> set[str]:
    """The parts of the network that differ between two files of weights."""
    old, new = (torch.load(path, weights_only=True) for path in (before, after))
    assert old.keys() == new.keys()
    return {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}


def test_pictures_change_the_student_alone_in_rounds_that_go_on(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = with_student(tiny_bundle(tmp_path, repository))
    tiny_data(tmp_path / "data")
    (tmp_path / "data" / "broken.png").write_text("junk")
    words = ["adapt", str(bundle), str(tmp_path / "data"), str(tmp_path / "out"), *SHORT]
    assert main([*words, "--rounds", "1"]) == 0
    assert changed(bundle / "models" / "model.pt", tmp_path / "out" / "model.pt") == {"student"}
    first = (tmp_path / "out" / "round_1" / "model.pt").read_bytes()
    assert main([*words, "--rounds", "2"]) == 0
    # the first round was finished: it is written again as it was
    assert (tmp_path / "out" / "round_1" / "model.pt").read_bytes() == first
    assert changed(tmp_path / "out" / "round_1" / "model.pt", tmp_path / "out" / "model.pt") == {"student"}
    assert f"weights: {tmp_path / 'out' / 'model.pt'}" in capsys.readouterr().out


def test_volumes_of_another_modality_are_learned_beside_labelled_ones(tmp_path: Path, repository: Path) -> None:
    bundle = with_student(tiny_bundle(tmp_path, repository, "liver_ct_mri_segmentation"))
    affine = affine_of(LEFT, BACK, HEAD, spacing=(1.2, 1.2, 5.0))
    organ = ellipsoid(SHAPE, 0.15, 0.6)
    noise = np.random.default_rng(0)
    for folder in ("mri", "ct"):
        (tmp_path / folder).mkdir()
    for index in range(2):
        image = np.where(organ, 300, 100) + noise.normal(0, 10, SHAPE)
        write_volume(tmp_path / "mri" / f"{index}.nii.gz", image.astype(np.int16), affine)
    image = np.where(organ, 120, -50) + noise.normal(0, 10, SHAPE)
    write_volume(tmp_path / "ct" / "image.nii.gz", image.astype(np.int16), affine)
    write_volume(tmp_path / "ct" / "label.nii.gz", organ.astype(np.uint8), affine)
    pair = {"image": "image.nii.gz", "label": "label.nii.gz", "intensity_scale": "hu"}
    (tmp_path / "ct" / "datalist.json").write_text(json.dumps({"train": [pair]}))
    words = ["adapt", str(bundle), str(tmp_path / "mri"), str(tmp_path / "out"), "--modality", "mr", "--rounds", "1"]
    assert main([*words, *SHORT, "--datalist", str(tmp_path / "ct" / "datalist.json")]) == 0
    assert changed(bundle / "models" / "model.pt", tmp_path / "out" / "model.pt") == {"student"}


def test_mistakes_end_without_a_traceback(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tiny_bundle(tmp_path, repository)
    write_png(tmp_path / "a.png", np.zeros((20, 20), np.uint8))
    out = str(tmp_path / "out")
    for words, message in (
        ([str(bundle), "none", out], "error: none does not exist"),
        ([str(bundle), str(tmp_path / "a.png"), out], "has no weights"),
        ([str(bundle), str(tmp_path / "a.png"), out, "--weights", "none.pt"], "error: weights none.pt do not exist"),
        ([str(bundle), str(tmp_path / "a.png"), out, "--datalist", "none.json"], "error: datalist none.json does not"),
    ):
        assert main(["adapt", *words]) == 1
        assert message in capsys.readouterr().err
