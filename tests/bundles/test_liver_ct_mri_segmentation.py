# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image

from monai_semgan import formats
from monai_semgan.apps import label_budget
from monai_semgan.bundle import Bundle
from monai_semgan.inferers import SliceWiseInferer, ViewAveragingInferer, WPlusInferer
from monai_semgan.metrics import VOLUME_SCORES
from tests.bundle_runs import EVALUATE, INFERENCE, overlap, rows, run_command, workflow
from tests.tiny_bundle import tiny_bundle
from tests.volume_files import BACK, FEET, FRONT, HEAD, LEFT, RIGHT, affine_of, ellipsoid, write_series, write_volume

NAME = "liver_ct_mri_segmentation"
# columns to the left, rows to the back, slices to the head
AFFINE = affine_of(LEFT, BACK, HEAD, spacing=(1.2, 1.2, 5.0))
SHAPE = (28, 24, 7)
# a part of its own in each direction, and none on the first and the last slice
LIVER = ellipsoid(SHAPE, 0.15, 0.6)


@pytest.fixture(autouse=True)
def bundle(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundle with a small network, in whose folder the commands run."""
    bundle = tiny_bundle(tmp_path, repository, NAME)
    monkeypatch.chdir(bundle)
    return bundle


def hounsfield(seed: int = 0) -> np.ndarray:
    """Air, a body, and in it a brighter liver."""
    noise = np.random.default_rng(seed).normal(0, 5, SHAPE)
    body = ellipsoid(SHAPE[:2], 0, 0.9)[..., None]
    return np.where(LIVER, 240, np.where(body, -50, -1000) + noise).round().astype(np.int16)


def make_cohort(folder: Path) -> dict[str, str]:
    """Write volumes of each format, and the lists of a datalist; settings of a run on it."""
    folder.mkdir()
    coronal = affine_of(RIGHT, FEET, FRONT, spacing=(1.2, 5.0, 1.2))
    # the same body in another storage order: right for left, feet for head, front for back
    turned = {"image": hounsfield(1)[::-1].transpose(0, 2, 1)[:, ::-1, ::-1], "label": LIVER[::-1].transpose(0, 2, 1)}
    turned["label"] = turned["label"][:, ::-1, ::-1]
    write_volume(folder / "plain.nii.gz", hounsfield(), AFFINE)
    write_volume(folder / "turned.mha", turned["image"], coronal)
    write_volume(folder / "plain.nrrd", hounsfield(2), AFFINE)
    write_series(folder / "series", hounsfield() + 1024, AFFINE, RescaleIntercept=-1024, RescaleSlope=1)
    labels = folder.parent / "labels"
    labels.mkdir()
    write_volume(labels / "plain.nii.gz", LIVER.astype(np.uint8), AFFINE)
    write_volume(labels / "turned.mha", turned["label"].astype(np.uint8), coronal)
    write_volume(labels / "moved.nii.gz", LIVER.astype(np.uint8), affine_of(LEFT, BACK, HEAD, spacing=(1.2, 1.2, 4)))
    plain = str(labels / "plain.nii.gz")
    pairs = [
        {"image": "plain.nii.gz", "label": plain},
        {"image": "turned.mha", "label": str(labels / "turned.mha")},
        {"image": "series", "label": plain},
    ]
    datalist = {
        "train_2": pairs[:2],
        "unlabeled": [{"image": pair["image"]} for pair in pairs],
        # a volume of another modality joins the images without labels
        "mri": [{"image": "plain.nrrd", "modality": "mri"}],
        "val": pairs[2:],
        "test": pairs,
        "moved": [pairs[0], {"image": "plain.nrrd", "label": str(labels / "moved.nii.gz")}],
    }
    (folder.parent / "datalist.json").write_text(json.dumps(datalist))
    return {"datalist": str(folder.parent / "datalist.json"), "dataset_dir": str(folder)}


def evaluate(folder: Path, files: list[str], **settings: Any) -> ConfigWorkflow:
    flow = workflow(files, logging_file=False, device="cpu", output_dir=str(folder), **settings)
    flow.run()
    return flow


def brightness(tmp_path: Path) -> dict[str, Any]:
    """Settings of a run whose network is sure of the intensity's sign: a label map lies where a volume is bright."""
    torch.save({"weight": torch.full((1, 1, 1, 1), 10.0), "bias": torch.zeros(1)}, tmp_path / "bright.pt")
    return {
        "network": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1},
        "inferer": "%configs/labels.yaml::simple_inferer",
        "ckpt_path": str(tmp_path / "bright.pt"),
    }


def test_training_on_slices_makes_weights_for_volumes(tmp_path: Path) -> None:
    data = make_cohort(tmp_path / "in")
    weights = str(tmp_path / "model.pt")

    def train(name: str, **settings: Any) -> Any:
        settings |= {"train_list": "train_2", "image_lists": ["unlabeled", "mri"], "output_dir": str(tmp_path / name)}
        few = {"max_epochs": 1, "steps_per_epoch": 2, "num_workers": 1}
        flow = ConfigWorkflow(
            f"configs/{name}.yaml", logging_file=False, workflow_type="train", **data, **few, **settings
        )
        flow.initialize()
        assert flow.check_properties() == []
        flow.run()
        flow.finalize()
        return flow.parser

    loader = train("train_gan").get_parsed_content("train::dataloader")
    # a third of the slices without liver is kept; this liver crosses the middle, so none is made by mirroring
    empty = round(0.33 * sum(~LIVER.any((0, 1))))
    kept = sum(LIVER.any((0, 1))) + empty
    assert len(loader.images) == 4 * SHAPE[2] and len(loader.pairs) == 2 * kept
    assert empty and sum(not item["label"].any() for item in loader.pairs) == 2 * empty
    for first, second in zip(list(loader.pairs)[:kept], list(loader.pairs)[kept:]):
        # one body, stored in two ways
        assert torch.equal(first["label"], second["label"])
        for item in (first, second):
            assert item["image"].shape == item["label"].shape == (1, 32, 32)
            assert item["image"].min() == -1 and item["image"].max() <= 1
            assert (item["image"][item["label"] == 1] > 0).float().mean() > 0.9 or not item["label"].any()
    checkpoint = str(tmp_path / "train_gan" / "state.pt")
    # StatsHandler would keep writing to the standard output of this test
    quiet: dict[str, Any] = {"validate::handlers": []}
    encoder = train("train_encoder", gan_ckpt_path=checkpoint, ckpt_path=weights, val_interval=1, **quiet)
    assert 0 <= encoder.get_parsed_content("validate::evaluator").state.metrics["val_mean_dice"] <= 1

    damaged = tmp_path / "in" / "truncated.nii.gz"
    damaged.write_bytes((tmp_path / "in" / "plain.nii.gz").read_bytes()[:-200])
    done = run_command(INFERENCE, dataset_dir=data["dataset_dir"], ckpt_path=weights, output_dir=tmp_path / "out")
    assert done.returncode == 1, done.stderr
    assert done.stderr.strip().endswith(f"1 of 5 images failed: see the messages in {tmp_path}/out/report.csv")
    report = rows(tmp_path / "out" / "report.csv")
    assert "truncated.nii.gz is damaged" in report.pop("truncated.nii.gz")["message"]
    assert set(report) == {"plain.nii.gz", "turned.mha", "plain.nrrd", "series"}
    for name, row in report.items():
        volume = formats.read(tmp_path / "in" / name, 3)
        mask = nib.load(tmp_path / "out" / row["mask"])
        assert mask.shape == volume.shape[1:] and mask.get_data_dtype() == np.uint8
        np.testing.assert_allclose(mask.affine, volume.meta["original_affine"], atol=1e-4)
        errors = tmp_path / "out" / row["mask"].replace("_mask.nii.gz", "_slices.csv")
        assert len(errors.read_text().splitlines()) == 1 + SHAPE[2]
        with Image.open(tmp_path / "out" / row["overlay"]) as page:
            assert page.mode == "RGB"


def test_evaluation_scores_whole_volumes(tmp_path: Path) -> None:
    data, bright = make_cohort(tmp_path / "in"), brightness(tmp_path)
    flow = evaluate(tmp_path / "ct", EVALUATE, **data, **bright)
    assert flow.check_properties() == []
    flow.finalize()
    report = rows(tmp_path / "ct" / "report.csv")
    assert set(report) == {"plain.nii.gz", "turned.mha", "series"}
    for row in report.values():
        assert tuple(row)[-len(VOLUME_SCORES) :] == VOLUME_SCORES
        assert float(row["dice"]) > 0.95 and float(row["hausdorff95_mm"]) < 5
        assert float(row["label_volume_ml"]) == pytest.approx(LIVER.sum() * 1.2 * 1.2 * 5 / 1000, abs=1e-4)
        assert float(row["false_positive_voxels"]) == 0
    mask = nib.load(tmp_path / "ct" / report["plain.nii.gz"]["mask"])
    assert overlap(np.asarray(mask.dataobj), LIVER) == pytest.approx(float(report["plain.nii.gz"]["dice"]), abs=1e-6)
    summary = json.loads((tmp_path / "ct" / "summary.json").read_text())
    assert summary["dice"]["n"] == 3 and set(summary["dice"]) == {"n", "mean", "std", "median", "min", "max"}

    # MRI is scaled in another way, by the configs of the label budgets as well
    mri = evaluate(tmp_path / "mri", [*EVALUATE, "configs/mri.yaml"], **data, **bright)
    ct_image, mri_image = (f.parser.get_parsed_content("dataset")[0]["image"] for f in (flow, mri))
    assert not torch.equal(ct_image, mri_image)

    moved = evaluate(tmp_path / "moved", EVALUATE, **data, **bright, list_key="moved")
    with pytest.raises(SystemExit, match="1 of 2 images failed"):
        moved.finalize()
    message = rows(tmp_path / "moved" / "report.csv")["plain.nrrd"]["message"]
    assert "its spacing is [1.2, 1.2, 4.0], the image's [1.2, 1.2, 5.0]" in message


MEASURE = """
import sys
from pathlib import Path
from monai_semgan.bundle import Bundle

def memory(field):
    return int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0]) / 1024

small, large, bundle, weights = sys.argv[1:]
settings = {"network": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1}}
simple = {"_target_": "monai.inferers.SimpleInferer"}
settings["inferer"] = {"_target_": "monai_semgan.inferers.SliceWiseInferer", "inferer": simple}
settings |= {"ckpt_path": weights, "device": "cpu"}
for file in (small, large):
    before = memory("VmRSS")
    # the peak from now on
    Path("/proc/self/clear_refs").write_text("5")
    Bundle(bundle).run("inference.yaml", dataset_dir=file, output_dir=file + "_out", **settings)
print("GROWTH", memory("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak of a process's memory")
def test_memory_stays_a_few_times_that_of_the_file(tmp_path: Path, bundle: Path) -> None:
    brightness(tmp_path)
    slices = 80
    for name, number in (("small", 4), ("large", slices)):
        noise = np.random.default_rng(0).normal(0, 20, (512, 512, 1))
        volume = np.where(ellipsoid((512, 512), 0, 0.9)[..., None], 100, -1000) + noise.round()
        write_volume(tmp_path / f"{name}.nii.gz", np.repeat(volume.astype(np.int16), number, axis=2), AFFINE)
    files = [str(tmp_path / f"{name}.nii.gz") for name in ("small", "large")]
    command = [sys.executable, "-c", MEASURE, *files, str(bundle), str(tmp_path / "bright.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    growth = float(done.stdout.split("GROWTH")[1])
    stored = 512 * 512 * slices * 2 / 2**20
    # the volume in its own type, and once in floating point, which is twice as much; the mask is half of it
    assert growth < 5 * stored


def test_pieces_are_dropped_on_request(tmp_path: Path) -> None:
    data, bright = make_cohort(tmp_path / "in"), brightness(tmp_path)
    spots = hounsfield()
    spots[2:6, 2:6, 0] = 240
    write_volume(tmp_path / "in" / "plain.nii.gz", spots, AFFINE)
    inferer: dict[str, Any] = {"_target_": "monai_semgan.inferers.SliceWiseInferer"}
    inferer["inferer"] = {"_target_": "monai.inferers.SimpleInferer"}
    largest, pieces = {"largest_components": 1}, {"inferer": inferer | {"smallest_piece": 0.05}}
    scores = []
    for number, settings in enumerate([{}, largest, pieces]):
        folder = tmp_path / str(number)
        evaluate(folder, EVALUATE, **data, **bright | {"inferer": inferer} | settings)
        scores.append(float(rows(folder / "report.csv")["plain.nii.gz"]["false_positive_voxels"]))
    assert scores[0] > 0 and scores[1:] == [0, 0]


def test_settings_of_the_refinement_reach_the_inferer() -> None:
    settings = {"memory_budget_mb": 90, "inferer::shifts": [[1, 0]], "inferer::inferer::learning_rate": 0.03}
    settings = {f"inferer::{name}": value for name, value in settings.items()}
    inferer = workflow(INFERENCE, logging_file=False, device="cpu", **settings).parser.get_parsed_content("inferer")
    assert isinstance(inferer, SliceWiseInferer) and inferer.chunk == 2
    assert isinstance(inferer.inferer, ViewAveragingInferer) and inferer.inferer.shifts == [(1, 0)]
    assert isinstance(inferer.inferer.inferer, WPlusInferer) and inferer.inferer.inferer.learning_rate == 0.03


def test_without_weights_the_message_says_what_to_do(tmp_path: Path) -> None:
    data = make_cohort(tmp_path / "in")
    flow = workflow(
        INFERENCE,
        logging_file=False,
        dataset_dir=data["dataset_dir"],
        output_dir=str(tmp_path / "out"),
        ckpt_path="models/none.pt",
    )
    with pytest.raises(SystemExit, match=r"models/none\.pt do not exist: put them there.*docs/README\.md"):
        flow.run()


def test_unet_is_evaluated_slice_by_slice(tmp_path: Path) -> None:
    data = make_cohort(tmp_path / "in")
    files = [*EVALUATE, "configs/evaluate_unet.yaml"]
    network = workflow(files).parser.get_parsed_content("network")
    torch.save(network.state_dict(), tmp_path / "unet.pt")
    evaluate(tmp_path / "out", files, **data, ckpt_path=str(tmp_path / "unet.pt")).finalize()
    assert {row["status"] for row in rows(tmp_path / "out" / "report.csv").values()} == {"ok"}


def test_the_shipped_experiment_names_what_exists(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = {name: [{"image": name}] for name in ("train_2", "train_4", "train_8", "test", "test_hu", "ood_test")}
    (tmp_path / "liver").mkdir()
    (tmp_path / "liver" / "datalist.json").write_text(json.dumps(lists))
    monkeypatch.setenv("SEMGAN_DATA", str(tmp_path))
    stages = label_budget.plan(label_budget.load_config(Bundle(bundle)))
    assert sum(stage.row is None for stage in stages) == 3 + 1 + 3 + 3
    mri = [stage for stage in stages if stage.row and stage.row["list"] == "ood_test"]
    assert len(mri) == 3 * 5
    assert all(stage.config_files[-1] == str(bundle / "configs" / "mri.yaml") for stage in mri)


@pytest.mark.parametrize(("modality", "expected"), [("ct", [0, 0, 1]), ("mri", [0, 1, 1])])
def test_each_modality_has_its_threshold(modality: str, expected: list[int]) -> None:
    thresholds = {"ct": 0.7, "mri": 0.5}
    flow = ConfigWorkflow(config_file=INFERENCE, workflow_type="infer", modality=modality, threshold=thresholds)
    flow.initialize()
    decide = flow.parser.get_parsed_content("post_steps::decide")
    assert decide({"pred": torch.tensor([[0.4, 0.6, 0.8]])})["pred"].tolist() == [expected]
