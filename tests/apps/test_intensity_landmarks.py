# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import ConfigParser

from monai_semgan.apps import intensity_landmarks
from tests.volume_files import BACK, HEAD, LEFT, affine_of, write_volume

BUNDLE = Path("bundles", "liver_ct_mri_segmentation")


def run(capsys: pytest.CaptureFixture[str], folder: Path, repository: Path, *options: str) -> list[float]:
    arguments = ["--datalist", str(folder / "datalist.json"), "--dataset_dir", str(folder)]
    arguments += ["--bundle", str(repository / BUNDLE)]
    assert intensity_landmarks.main([*arguments, *options]) == 0
    line = capsys.readouterr().out
    assert line.startswith("landmarks: [")
    return list(map(float, json.loads(line.removeprefix("landmarks: "))))


def test_landmarks_of_windowed_volumes(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # bodies in a frame of air, one twice as far from -100 as the other
    values = np.random.default_rng(0).uniform(-100, 20, (220, 220, 2))
    for number in (1, 2):
        body = np.full((250, 250, 2), -1000, np.int16)
        body[15:235, 15:235] = -100 + number * (values + 100)
        write_volume(tmp_path / f"{number}.nii.gz", body, affine_of(LEFT, BACK, HEAD))
    images = [{"image": f"{number}.nii.gz"} for number in (1, 2)]
    (tmp_path / "datalist.json").write_text(json.dumps({"train": images}))
    found = run(capsys, tmp_path, repository, "--list_key", "train", "--number", "3", "--percentile", "25")
    # a window of 400 about 40, so 200 HU are 1 and -100 HU are -0.7
    quarters = -100 + 120 * np.array([0.25, 0.5, 0.75])
    expected = [np.mean([(-100 + number * (quarter + 100) - 40) / 200 for number in (1, 2)]) for quarter in quarters]
    # smoothing moves the body's edge by a pixel or two
    np.testing.assert_allclose(found, expected, atol=0.06)


def test_a_list_that_does_not_exist_is_named(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "datalist.json").write_text(json.dumps({"train": []}))
    with pytest.raises(SystemExit):
        run(capsys, tmp_path, repository, "--list_key", "train_8")
    assert "train_8" in capsys.readouterr().err


def test_the_bundle_has_those_of_its_training(
    real_data: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, real_data / "liver", repository, "--list_key", "train_8")
    loading = ConfigParser.load_config_file(repository / BUNDLE / "configs" / "inference.yaml")["loading"]["transforms"]
    (by_modality,) = (transform for transform in loading if transform["_target_"].endswith("ByModalityd"))
    assert found == by_modality["transforms"]["mri"]["landmarks"]
