# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from monai_semgan.apps.calibration import calibrate, changed, fit, learn_domain, measure
from monai_semgan.bundle import Bundle
from monai_semgan.cli import main
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation
from tests.tiny_bundle import tiny_bundle, tiny_data, with_weights


@pytest.fixture
def bundle(tmp_path: Path, repository: Path) -> Bundle:
    tiny_data(tmp_path / "data")
    return Bundle(with_weights(tiny_bundle(tmp_path, repository)))


def test_the_interval_holds_its_share_of_new_images() -> None:
    random = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        confidence = random.uniform(0.6, 1.0, n)
        truth = confidence**2
        return confidence, (truth + random.normal(0, 0.3, n) * (1.01 - truth)).clip(0, 1)

    confidence, dice = draw(400)
    calibration = fit(confidence, dice)
    held, errors = [], []
    for c, d in zip(*draw(4000)):
        found = calibration.predict(c)
        assert found is not None
        held.append(found.low <= d <= found.high)
        errors.append(abs(found.dice - c**2))
    assert np.mean(held) == pytest.approx(0.9, abs=0.03)
    assert np.mean(errors) < 0.03


def test_what_is_sure_has_no_margin_and_takes_none_from_others() -> None:
    confidence, dice = [0.6, 0.7, 0.8, 0.9] * 25, [0.5, 0.7, 0.7, 0.9] * 25
    dice[:4], dice[4:8] = [0.4, 0.6, 0.6, 0.8], [0.6, 0.8, 0.8, 1.0]
    alone, among = fit(confidence, dice), fit(confidence + [1.0] * 300, dice + [1.0] * 300)
    found, sure = among.predict(0.6), among.predict(1.0)
    assert sure is not None and sure.dice == 1.0 and found is not None and found.dice == pytest.approx(0.5)
    torch.testing.assert_close(among.margins, alone.margins)


def test_masks_that_are_all_alike_teach_nothing() -> None:
    with pytest.raises(ValueError, match="all masks have the confidence 0.500"):
        fit([0.5] * 20, [0.5] * 20)


def test_copies_change_intensities_and_keep_metadata() -> None:
    harder = DifferentiableAugmentation(noise=1.0)
    for shape in ((1, 8, 8), (1, 8, 8, 3)):
        image = torch.zeros(shape)
        found = changed(image, harder)
        assert found.shape == shape and found.abs().max() <= 1 and (found != 0).any() and (image == 0).all()


def test_a_list_is_measured_with_its_copies(bundle: Bundle, tmp_path: Path) -> None:
    datalist = tmp_path / "data" / "datalist.json"
    rows = measure(bundle, datalist, "test", copies=2)
    assert [row["copy"] for row in rows] == [0, 1, 2] * 2
    assert all(0 <= row["confidence"] <= 1 and 0 <= row["dice"] <= 1 for row in rows)
    assert rows == measure(bundle, datalist, "test", copies=2)
    plain = measure(bundle, datalist, "test", copies=0)
    assert plain == [row for row in rows if row["copy"] == 0] or np.allclose(
        [row["confidence"] for row in plain], [row["confidence"] for row in rows if row["copy"] == 0], atol=1e-4
    )


def test_weights_are_calibrated_in_place_and_masks_have_a_predicted_dice(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    lists = json.loads((data / "datalist.json").read_text())
    lists["many"] = [item for _ in range(4) for item in lists["train"]]
    (data / "datalist.json").write_text(json.dumps(lists))
    weights = bundle.root / "models" / "model.pt"
    before = torch.load(weights, weights_only=True)
    words = ["calibrate", str(bundle.root), str(data / "datalist.json")]
    assert main([*words, "--list", "val"]) == 1
    assert "2 labelled images are too few" in capsys.readouterr().err
    assert main([*words, "--list", "many", "--copies", "1", "--table", str(tmp_path / "table.csv")]) == 0
    after = torch.load(weights, weights_only=True)
    assert all(torch.equal(after[name], value) for name, value in before.items() if "calibration" not in name)
    with (tmp_path / "table.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 24
    prediction = bundle.predictor()(str(data / lists["test"][0]["image"]))
    assert prediction.quality is not None
    assert 0 <= prediction.quality.low <= prediction.quality.dice <= prediction.quality.high <= 1
    found = calibrate(bundle, data / "datalist.json", "many", weights=weights, copies=1)
    torch.testing.assert_close(found.knots, after["calibration.knots"])


def test_weights_learn_what_their_images_are_like(bundle: Bundle, tmp_path: Path) -> None:
    data = tmp_path / "data"
    lists = json.loads((data / "datalist.json").read_text())
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:24, :20]
    for index in range(40):
        name = f"blob_{index}.png"
        row, column = random.uniform((10, 8), (14, 12))
        blob = 200 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 30) + random.normal(20, 4, rows.shape)
        Image.fromarray(blob.clip(0, 255).astype(np.uint8)).save(data / name)
        lists.setdefault("blobs", []).append({"image": name})
    lists["many"] = [item for _ in range(4) for item in lists["train"]]
    (data / "datalist.json").write_text(json.dumps(lists))
    weights = bundle.root / "models" / "model.pt"
    assert learn_domain(bundle, data / "datalist.json", ["blobs"], weights=weights) is None
    torch.save(bundle.parser().get_parsed_content("network").state_dict(), weights)
    with pytest.raises(ValueError, match="3 images are too few"):
        learn_domain(bundle, data / "datalist.json", ["train"], weights=weights)
    found = learn_domain(bundle, data / "datalist.json", ["blobs", "train"], weights=weights)
    state = torch.load(weights, weights_only=True)
    assert found is not None and found.fitted and state["domain.limit"] == found.limit
    assert not [name for name in state if name.startswith("domain.") and not torch.isfinite(state[name]).all()]
    noise = random.integers(0, 255, (24, 20), dtype=np.uint8)
    *like, unlike = bundle.predictor()([*(data / item["image"] for item in lists["blobs"]), noise])
    assert [prediction.check for prediction in like].count("ok") > 30 and unlike.check == "suspicious"
    usual = ["calibrate", str(bundle.root), str(data / "datalist.json"), "--list", "many", "--copies", "0"]
    assert main([*usual, "--image-lists", "many"]) == 0
    again = torch.load(weights, weights_only=True)
    assert not torch.equal(again["domain.mean"], state["domain.mean"])
