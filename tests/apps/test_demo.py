# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from monai_semgan import cli
from monai_semgan.apps import demo
from monai_semgan.bundle import Bundle
from monai_semgan.networks.nets import SemanticGAN
from monai_semgan.transforms import CTWindow
from tests.tiny_bundle import TINY_NETWORK, tiny_bundle

SIZE = TINY_NETWORK["size"]


def tiny_network(image_channels: int = 1) -> SemanticGAN:
    network = SemanticGAN(image_channels=image_channels, **TINY_NETWORK).eval()
    network.prior.fit(torch.randn(9, network.generator.num_codes, network.generator.latent_dim))
    return network


def pixels(path: Path) -> np.ndarray:
    """Where a mask or a label is set."""
    if path.name.endswith(".nii.gz"):
        return nib.load(path).get_fdata() > 0
    with Image.open(path) as picture:
        return np.array(picture) > 0


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
def test_samples_are_what_the_network_draws_from_their_seed(tmp_path: Path, image_channels: int, mode: str) -> None:
    network = tiny_network(image_channels)
    datalist = demo.draw_samples(network, tmp_path, num=2, truncation=0.5)
    items = json.loads(datalist.read_text())["test"]
    assert len(items) == 2
    for seed, item in enumerate(items):
        image, logits = network.sample(1, truncation=0.5, generator=torch.Generator().manual_seed(seed))
        with Image.open(tmp_path / item["image"]) as picture:
            assert picture.mode == mode
            levels = torch.from_numpy(np.array(picture)).reshape(SIZE, SIZE, image_channels).permute(2, 0, 1)
        torch.testing.assert_close(levels / 127.5 - 1, image[0], atol=0.5 / 127.5 + 1e-6, rtol=0)
        with Image.open(tmp_path / item["label"]) as picture:
            assert np.array_equal(np.array(picture) == 255, logits[0, 0].numpy() > 0)


def test_samples_do_not_depend_on_their_number(tmp_path: Path) -> None:
    network = tiny_network()
    demo.draw_samples(network, tmp_path / "one", num=1)
    demo.draw_samples(network, tmp_path / "two", num=2)
    first = "images/sample_0.png"
    assert (tmp_path / "one" / first).read_bytes() == (tmp_path / "two" / first).read_bytes()


def test_volumes_are_what_the_network_draws_through_the_window(tmp_path: Path) -> None:
    network = tiny_network()
    datalist = demo.draw_volumes(network, tmp_path, window=(120, 240), num=2, truncation=0.5)
    items = json.loads(datalist.read_text())["test"]
    assert len(items) == 2
    for seed, item in enumerate(items):
        ends = network.prior.sample(2, truncation=0.5, generator=torch.Generator().manual_seed(seed))
        volume, label = nib.load(tmp_path / item["image"]), nib.load(tmp_path / item["label"])
        assert nib.aff2axcodes(volume.affine) == ("P", "L", "S")
        assert np.array_equal(volume.affine, label.affine)
        seen = CTWindow(level=120, width=240, scale="hu")(torch.from_numpy(volume.get_fdata()).float())
        for index, end in ((0, ends[:1]), (-1, ends[1:])):
            with torch.no_grad():
                image, logits = network.decode(end)
            torch.testing.assert_close(seen[..., index], image[0, 0].clamp(-1, 1), atol=0.5 / 120 + 1e-5, rtol=0)
            assert np.array_equal(label.get_fdata()[..., index] > 0, logits[0, 0].numpy() > 0)


def test_a_bundle_without_weights_is_named(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tiny_bundle(tmp_path, repository)
    assert cli.main(["demo", str(bundle), "--output", str(tmp_path / "out")]) == 1
    assert str(bundle / "models" / "model.pt") in capsys.readouterr().err


def test_summary_tells_scores_failures_and_the_mean_of_what_was_scored(tmp_path: Path) -> None:
    (tmp_path / demo.REPORT).write_text(
        "file,status,message,mask,overlay,reconstruction_error,patient,thresholded_iou,dice\n"
        "a.png,ok,,masks/a.png,overlays/a.png,0.1,a,0.9,0.95\n"
        "b.png,failed,cannot be read,,,,b,,\n"
        "c.png,ok,,masks/c.png,overlays/c.png,0.1,c,0.0,0.5\n"
    )
    assert demo.summary(tmp_path).splitlines() == [
        "thresholded_iou  image",
        "          0.900  a.png",
        "            nan  b.png, failed: cannot be read",
        "          0.000  c.png",
        "          0.450  mean of 2 images",
        "",
        f"masks: {tmp_path / 'masks'}",
        f"overlays: {tmp_path / 'overlays'}",
        f"CSV: {tmp_path / demo.REPORT}",
    ]


@pytest.mark.parametrize(
    ("name", "image_channels", "score"),
    [
        ("lung_xray_segmentation", 1, "dice"),
        ("lesion_dermoscopy_segmentation", 3, "iou"),
        ("liver_ct_mri_segmentation", 1, "dice"),
    ],
)
def test_demo_runs_a_bundle_and_tells_the_first_score_of_its_masks(
    name: str, image_channels: int, score: str, tmp_path: Path, repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle, output = tiny_bundle(tmp_path / "with space", repository, name), tmp_path / "demo output"
    (bundle / "models").mkdir()
    torch.save(tiny_network(image_channels).state_dict(), bundle / "models" / "model.pt")
    assert demo.demo(Bundle(bundle), output, 2) == 0
    with (output / "results" / demo.REPORT).open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = capfd.readouterr().out
    assert f"{score:>6}  image\n" in told
    scores = []
    for seed, row in enumerate(rows):
        assert Path(row["mask"]).name.startswith(f"sample_{seed}")
        assert (output / "results" / row["overlay"]).is_file()
        label = Path(row["file"].replace("images", "labels"))
        a, b = pixels(output / "results" / row["mask"]), pixels(output / "samples" / label)
        assert b.any()
        iou = (a & b).sum() / (a | b).sum()
        scores.append(iou if score == "iou" else 2 * iou / (1 + iou))
        assert f"{scores[-1]:6.3f}  {row['file']}\n" in told
    assert f"{np.mean(scores):6.3f}  mean of 2 images\n" in told
