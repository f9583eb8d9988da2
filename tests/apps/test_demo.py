# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from monai_semgan.apps import demo
from monai_semgan.networks.nets import SemanticGAN

TINY = {
    "size": 16,
    "latent_dim": 8,
    "channel_base": 64,
    "channel_max": 8,
    "encoder_channel_max": 8,
    "pyramid_channels": 8,
    "head_channels": 8,
}


def tiny_network(image_channels: int = 1) -> SemanticGAN:
    return SemanticGAN(image_channels=image_channels, **TINY)


@pytest.fixture
def tiny_bundle(tmp_path: Path, repository: Path) -> Path:
    """The lung bundle with a small untrained network."""
    bundle = tmp_path / "tiny bundle"
    shutil.copytree(repository / "bundles" / "lung_xray_segmentation" / "configs", bundle / "configs")
    path = bundle / "configs" / "inference.yaml"
    config = yaml.safe_load(path.read_text())
    config["network_def"] = {"_target_": "monai_semgan.networks.nets.SemanticGAN", **TINY, "image_channels": 1}
    config["displayable_configs"]["refine_steps"] = 1
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    (bundle / "models").mkdir()
    torch.save(tiny_network().state_dict(), bundle / "models" / "model.pt")
    return bundle


def test_to_uint8_spans_the_range_and_orders_channels() -> None:
    grey = torch.tensor([[[-1.0, 0.0, 1.0, 1.5]]])
    assert demo.to_uint8(grey).tolist() == [[0, 128, 255, 255]]
    rgb = torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1)
    assert demo.to_uint8(rgb).tolist() == [[[0, 128, 255]]]


def test_to_label_is_0_and_255_or_class_indices() -> None:
    assert demo.to_label(torch.tensor([[[-1.0, 0.0, 1.0]]])).tolist() == [[0, 0, 255]]
    logits = torch.tensor([[[3.0, 0.0]], [[1.0, 2.0]], [[0.0, 5.0]]])
    assert demo.to_label(logits).tolist() == [[0, 2]]


@pytest.mark.parametrize(("image_channels", "mode"), [(1, "L"), (3, "RGB")])
def test_samples_are_what_the_generator_draws_from_their_seed(tmp_path: Path, image_channels: int, mode: str) -> None:
    generator = tiny_network(image_channels).generator.eval()
    datalist = demo.draw_samples(generator, tmp_path, num=2, truncation=0.5)
    items = json.loads(datalist.read_text())["test"]
    assert len(items) == 2
    for seed, item in enumerate(items):
        image, logits = generator.sample(1, truncation=0.5, generator=torch.Generator().manual_seed(seed))
        with Image.open(tmp_path / item["image"]) as picture:
            assert picture.mode == mode
            levels = torch.from_numpy(np.array(picture)).reshape(16, 16, image_channels).permute(2, 0, 1)
        torch.testing.assert_close(levels / 127.5 - 1, image[0], atol=0.5 / 127.5 + 1e-6, rtol=0)
        with Image.open(tmp_path / item["label"]) as picture:
            assert np.array_equal(np.array(picture) == 255, logits[0, 0].numpy() > 0)


def test_samples_do_not_depend_on_their_number(tmp_path: Path) -> None:
    generator = tiny_network().generator.eval()
    demo.draw_samples(generator, tmp_path / "one", num=1)
    demo.draw_samples(generator, tmp_path / "two", num=2)
    first = "images/sample_0.png"
    assert (tmp_path / "one" / first).read_bytes() == (tmp_path / "two" / first).read_bytes()


def test_a_bundle_without_weights_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.yaml").write_text("network_def: null\n")
    with pytest.raises(SystemExit) as stop:
        demo.main(["--bundle", str(tmp_path), "--output", str(tmp_path / "out")])
    assert stop.value.code == 2
    assert str(tmp_path / "models" / "model.pt") in capsys.readouterr().err


def test_summary_tells_scores_failures_and_the_mean_of_what_was_scored(tmp_path: Path) -> None:
    (tmp_path / demo.REPORT).write_text(
        "file,status,message,mask,overlay,dice\n"
        "a.png,ok,,masks/a.png,overlays/a.png,0.9\n"
        "b.png,failed,cannot be read,,,\n"
        "c.png,ok,,masks/c.png,overlays/c.png,0.8\n"
    )
    assert demo.summary(tmp_path).splitlines() == [
        "  Dice  image",
        " 0.900  a.png",
        "   nan  b.png, failed: cannot be read",
        " 0.800  c.png",
        " 0.850  mean of 2 images",
        "",
        f"masks: {tmp_path / 'masks'}",
        f"overlays: {tmp_path / 'overlays'}",
        f"CSV: {tmp_path / demo.REPORT}",
    ]


def test_demo_runs_the_bundle_and_tells_the_dice_of_its_masks(
    tiny_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "demo output"
    assert demo.main(["--bundle", str(tiny_bundle), "--output", str(output), "--num", "2"]) == 0
    with (output / "results" / demo.REPORT).open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = capfd.readouterr().out
    scores = []
    for seed, row in enumerate(rows):
        assert Path(row["mask"]).name.startswith(f"sample_{seed}")
        assert (output / "results" / row["overlay"]).is_file()
        with (
            Image.open(output / "results" / row["mask"]) as found,
            Image.open(output / "samples" / "labels" / f"sample_{seed}.png") as true,
        ):
            a, b = np.array(found) > 0, np.array(true) > 0
        assert b.any()
        scores.append(2 * (a & b).sum() / (a.sum() + b.sum()))
        assert f"{scores[-1]:6.3f}  images/sample_{seed}.png\n" in told
    assert f"{np.mean(scores):6.3f}  mean of 2 images\n" in told
