# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from PIL import Image

from tests.bundle_runs import EVALUATE, INFERENCE, overlap, read_mask, rows, run_command, tiny, workflow
from tests.image_files import gradient, oblique_affine, write_dicom, write_nifti, write_png


@pytest.fixture(autouse=True)
def bundle(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundle's folder, in which its commands run."""
    folder = repository / "bundles" / "lung_xray_segmentation"
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a run with an untrained network of 32 pixels."""
    return tiny(tmp_path_factory.mktemp("weights") / "model.pt")


def bright_corner(rows: int = 60, columns: int = 40) -> np.ndarray:
    """8-bit image, bright in the upper-left half by area, so that equalisation puts its threshold at the border."""
    image = gradient(rows, columns, top=60)
    image[: rows // 2] += 140
    image[: rows // 2, columns - 6 :] = 0
    return image


def make_images(folder: Path) -> dict[str, np.ndarray]:
    """One file of each kind that is read; their masks in the order of the files."""
    shown = bright_corner()
    bright = shown > 100
    (folder / "sub").mkdir(parents=True)
    write_png(folder / "a.png", shown.astype(np.uint8))
    write_png(folder / "sub" / "a.png", (shown * 250).astype(np.uint16))
    Image.fromarray(shown.astype(np.uint8)).convert("RGB").save(folder / "colour.JPG", quality=95)
    spaced = {"ImagerPixelSpacing": [0.4, 0.2]}
    write_dicom(folder / "a.dcm", 4000 - shown * 10, "MONOCHROME1", **spaced)
    write_dicom(folder / "1.2.3.4", shown * 10, RescaleSlope=2, RescaleIntercept=-9)
    write_nifti(folder / "oblique.nii.gz", shown.T[..., None].astype(np.float32), oblique_affine())
    # rows from the bottom, as dcm2niix writes them
    write_nifti(folder / "turned.nii", shown.T[:, ::-1].astype(np.int16), np.diag([-0.3, 0.6, 1, 1]))
    return {
        "a.png": bright,
        "sub/a.png": bright,
        "colour.JPG": bright,
        "a.dcm": bright.T[..., None],
        "1.2.3.4": bright.T[..., None],
        "oblique.nii.gz": bright.T[..., None],
        "turned.nii": bright.T[:, ::-1],
    }


def make_bad_images(folder: Path) -> dict[str, str]:
    """Files that cannot be segmented, and what is said of them."""
    (folder / "empty.png").touch()
    (folder / "junk.jpg").write_text("junk")
    (folder / "junk.dcm").write_text("junk")
    write_png(folder / "constant.png", np.full((20, 20), 7, np.uint8))
    hole = gradient().T.astype(np.float32)
    hole[3, 4] = np.nan
    write_nifti(folder / "nan.nii.gz", hole, np.eye(4))
    write_nifti(folder / "volume.nii.gz", np.ones((8, 8, 8), np.float32), np.eye(4))
    return {
        "empty.png": "empty file",
        "junk.jpg": "damaged",
        "junk.dcm": "damaged",
        "constant.png": "constant",
        "nan.nii.gz": "NaN",
        "volume.nii.gz": "not one 2-D image",
    }


@pytest.mark.parametrize("num_workers", [0, 2])
def test_masks_lie_where_the_images_are_bright(tmp_path: Path, num_workers: int) -> None:
    """With a network that passes its input on, a mask is the brighter half of the image: every step shows in it."""
    masks = make_images(tmp_path / "in")
    torch.save({}, tmp_path / "none.pt")
    passing_on = {
        "network_def": {"_target_": "torch.nn.Identity", "size": 32, "image_channels": 1, "label_channels": 1},
        "inferer": {"_target_": "monai.inferers.SimpleInferer"},
        "threshold": 0.5,
    }
    flow = workflow(
        INFERENCE,
        dataset_dir=str(tmp_path / "in"),
        output_dir=str(tmp_path / "out"),
        ckpt_path=str(tmp_path / "none.pt"),
        device="cpu",
        num_workers=num_workers,
        batch_size=3,
        **passing_on,
    )
    flow.run()
    flow.finalize()
    report = rows(tmp_path / "out" / "report.csv")
    assert sorted(report) == sorted(masks)
    for name, expected in masks.items():
        path = tmp_path / "out" / report[name]["mask"]
        mask = read_mask(path)
        assert set(np.unique(mask)) == ({0, 255} if path.suffix == ".png" else {0, 1})
        assert overlap(mask, expected) > 0.93, name
    assert report["a.png"]["mask"] == "masks/a_png_mask.png"
    assert report["a.dcm"]["mask"] == "masks/a_dcm_mask.nii.gz"
    assert report["sub/a.png"]["mask"] == "masks/sub/a_mask.png"
    for name in ("oblique.nii.gz", "turned.nii"):
        mask = nib.load(tmp_path / "out" / report[name]["mask"])
        np.testing.assert_allclose(mask.affine, nib.load(tmp_path / "in" / name).affine, atol=1e-5)
    np.testing.assert_allclose(
        nib.load(tmp_path / "out" / "masks" / "a_dcm_mask.nii.gz").header.get_zooms(), [0.2, 0.4, 1]
    )


def test_command_survives_bad_images_and_evaluation_agrees(tmp_path: Path, network: dict[str, Any]) -> None:
    good, bad = make_images(tmp_path / "in"), make_bad_images(tmp_path / "in")
    folders = {"dataset_dir": tmp_path / "in", "output_dir": tmp_path / "out"}
    done = run_command(INFERENCE, **network, **folders, num_workers=1)
    assert done.returncode == 1, done.stderr
    assert done.stderr.strip().endswith(f"6 of 13 images failed: see the messages in {tmp_path}/out/report.csv")
    report = rows(tmp_path / "out" / "report.csv")
    assert {name for name, row in report.items() if row["status"] == "ok"} == set(good)
    for name, reason in bad.items():
        assert reason in report[name]["message"] and report[name]["mask"] == ""
        assert f"{name}: FAILED: {report[name]['message']}" in done.stdout
    for name in good:
        assert f"{name}: ok" in done.stdout
        assert (tmp_path / "out" / report[name]["overlay"]).is_file()
        assert float(report[name]["reconstruction_error"]) > 0

    # the masks as labels: every score is perfect, whatever the format
    items = [{"image": name, "label": str(tmp_path / "out" / report[name]["mask"])} for name in good]
    items += [{"image": "a.png", "label": str(tmp_path / "in" / "constant.png")}]
    (tmp_path / "datalist.json").write_text(json.dumps({"cohort": items}))
    flow = workflow(
        EVALUATE,
        **network,
        datalist=str(tmp_path / "datalist.json"),
        dataset_dir=str(tmp_path / "in"),
        list_key="cohort",
        output_dir=str(tmp_path / "scores"),
    )
    assert flow.check_properties() == []
    flow.run()
    with pytest.raises(SystemExit, match="1 of 8 images failed"):
        flow.finalize()
    with (tmp_path / "scores" / "report.csv").open(newline="") as file:
        scored = list(csv.DictReader(file))
    assert [row["dice"] for row in scored if row["status"] == "ok"] == ["1.0"] * len(good)
    assert "is on another grid than its image" in next(row["message"] for row in scored if row["status"] == "failed")
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert summary["dice"]["mean"] == 1 and summary["patients"] == len(good) and summary["failed"] == 1
    with_spacing = {row["file"] for row in scored if row["hausdorff95_mm"] != ""}
    assert with_spacing <= {"a.dcm", "oblique.nii.gz", "turned.nii"}


def test_results_repeat(tmp_path: Path, network: dict[str, Any]) -> None:
    make_images(tmp_path / "in")
    for turn, batch_size in (("first", 2), ("second", 3)):
        flow = workflow(
            INFERENCE,
            **network,
            dataset_dir=str(tmp_path / "in"),
            output_dir=str(tmp_path / turn),
            batch_size=batch_size,
        )
        flow.run()
    first, second = (sorted((tmp_path / turn / "masks").rglob("*.png")) for turn in ("first", "second"))
    assert [path.name for path in first] == [path.name for path in second]
    for one, other in zip(first, second):
        np.testing.assert_array_equal(read_mask(one), read_mask(other))


@pytest.mark.parametrize(
    "option, message", [("dataset_dir", "does not exist"), ("ckpt_path", "weights .* do not exist")]
)
def test_what_is_missing_is_named(tmp_path: Path, network: dict[str, Any], option: str, message: str) -> None:
    write_png(tmp_path / "a.png", gradient().astype(np.uint8))
    options = {**network, "dataset_dir": str(tmp_path), "output_dir": str(tmp_path / "out")}
    flow = workflow(INFERENCE, **{**options, option: str(tmp_path / "missing")})
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        flow.run()


def test_folder_without_images_and_evaluation_without_datalist(tmp_path: Path, network: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="no images in"):
        workflow(INFERENCE, **network, dataset_dir=str(tmp_path)).run()
    with pytest.raises(SystemExit, match="no datalist given"):
        workflow(EVALUATE, **network, dataset_dir=str(tmp_path)).run()

    flow = workflow(INFERENCE, **network, output_dir=str(tmp_path))
    flow.run()
    with pytest.raises(SystemExit, match="no images given"):
        flow.finalize()


def test_other_configs_take_the_preprocessing_by_macro() -> None:
    parser = ConfigParser(
        {
            "imports": ["$import monai_semgan.bundle as bundle"],
            "insist": "%configs/inference.yaml::insist",
            "network_def": {"size": 64, "image_channels": 1},
            "steps": "%configs/inference.yaml::steps",
            "preparation": "%configs/inference.yaml::preparation",
            "train": {"preprocessing": "%configs/inference.yaml::preprocessing"},
        }
    )
    parser.resolve_macro_and_relative_ids()
    chain = parser.get_parsed_content("train::preprocessing")
    resize = parser.get_parsed_content("steps::resize")
    assert isinstance(chain, Compose) and resize in chain.flatten().transforms
    assert resize.resizer.spatial_size == [64, 64]


def test_preprocessing_equalises_to_the_network_range(tmp_path: Path) -> None:
    dark = np.linspace(0, 1, 200 * 150).reshape(200, 150) ** 1.5
    write_png(tmp_path / "a.png", (dark * 60000).astype(np.uint16))
    item = workflow(INFERENCE).parser.get_parsed_content("preprocessing")({"image": str(tmp_path / "a.png")})
    image = item["image"]
    assert image.shape == (1, 128, 128) and image.dtype == torch.float32
    assert image.min() == -1 and image.max() == 1
    # equalised: every quarter of the range holds a quarter of the pixels
    np.testing.assert_allclose(torch.histc(image.as_tensor(), 4, -1, 1) / image.numel(), 0.25, atol=0.03)


def test_monai_label_gets_a_mask_without_channel(tmp_path: Path, network: dict[str, Any]) -> None:
    """MONAI Label runs the transforms itself, and writes what is then in "pred"."""
    write_png(tmp_path / "a.png", gradient(60, 40).astype(np.uint8))
    parser = workflow(INFERENCE, **network).parser
    item = parser.get_parsed_content("preprocessing")({"image": str(tmp_path / "a.png")})
    with torch.no_grad():
        logits = parser.get_parsed_content("inferer")(item["image"][None], parser.get_parsed_content("network_def"))
    item["pred"] = logits[0]
    for transform in parser.get_parsed_content("postprocessing").transforms:
        item = transform(item)
    assert item["pred"].shape == (40, 60) and item["pred"].dtype == torch.uint8
    assert item["pred"].max() <= 1
