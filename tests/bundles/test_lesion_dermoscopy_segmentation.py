# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import ExifTags, Image

from monai_semgan.apps import label_budget
from monai_semgan.bundle import Bundle
from tests.bundle_runs import EVALUATE, INFERENCE, overlap, read_mask, rows, run_command, tiny, workflow
from tests.image_files import write_colour_dicom, write_png_16
from tests.tiny_bundle import LISTS, tiny_bundle, tiny_data

SHIFT = "configs/camera_shift.yaml"
UNET = "configs/evaluate_unet.yaml"
Write = Callable[[Path, np.ndarray], Any]


@pytest.fixture(scope="module", autouse=True)
def bundle(repository: Path) -> Iterator[Path]:
    """The bundle's folder, in which its commands run."""
    folder = repository / "bundles" / "lesion_dermoscopy_segmentation"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def bright_part(rows: int, columns: int) -> np.ndarray:
    """A rectangle that no turn and no reflection brings back to its place."""
    mask = np.zeros((rows, columns), bool)
    mask[rows // 8 : rows * 5 // 8, columns // 8 : columns * 3 // 8] = True
    return mask


def photograph(mask: np.ndarray, light: tuple[float, ...] = (1.0, 0.8, 0.65)) -> np.ndarray:
    """Skin by a reddish light, 8-bit RGB, with a part that is brighter than the rest."""
    columns = np.linspace(0, 20, mask.shape[1])
    grey = np.where(mask, 220 + columns, 60 + columns)
    return (grey[..., None] * light).round().astype(np.uint8)


def save(mode: str = "RGB", **options: Any) -> Write:
    return lambda path, image: Image.fromarray(image).convert(mode).save(path, **options)


def turned(orientation: int, **options: Any) -> Write:
    """Write a picture so that EXIF has it turned by 90 degrees, clockwise (6) or not (8), to be shown as it was."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return lambda path, image: save(exif=exif, **options)(path, np.rot90(image, {6: 1, 8: -1}[orientation]))


def transparent(path: Path, image: np.ndarray) -> None:
    """Write RGBA of which the right half alone is opaque."""
    alpha = np.zeros(image.shape[:2], np.uint8)
    alpha[:, image.shape[1] // 2 :] = 255
    Image.fromarray(np.dstack([image, alpha])).save(path)


def visible_light(path: Path, image: np.ndarray, frames: int = 1) -> None:
    """Write VL Photographic Image Storage, or a video of it."""
    tags: dict[str, Any] = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4", "Modality": "XC", "NumberOfFrames": frames}
    write_colour_dicom(path, image, PixelData=image.tobytes() * frames, **tags)


# rows and columns as displayed, and how the file is written
KINDS: dict[str, tuple[tuple[int, int], Write]] = {
    "upright.png": ((131, 83), save()),
    "turned_6.png": ((131, 83), turned(6)),
    "turned_8.png": ((131, 83), turned(8)),
    "turned_6.jpg": ((97, 154), turned(6, quality=95)),
    "turned_8.jpg": ((154, 97), turned(8, quality=95)),
    "wide.jpg": ((37, 611), save(quality=95)),
    "tall.jpeg": ((403, 29), save(quality=95)),
    "small.png": ((16, 24), save()),
    "large.jpg": ((601, 811), save(quality=90)),
    "transparent.png": ((63, 85), transparent),
    "palette.png": ((64, 79), save("P", transparency=0)),
    "ink.jpg": ((71, 90), save("CMYK", quality=95)),
    "deep.png": ((75, 64), lambda path, image: write_png_16(path, image.astype(np.uint16) * 250 + 7)),
    "grey.png": ((66, 91), save("L")),
    "deep_grey.png": ((91, 66), lambda path, image: Image.fromarray(image[..., 0].astype(np.uint16) * 250).save(path)),
    "tagged.tif": ((57, 72), save()),
    "plain.BMP": ((72, 57), save()),
    "web.webp": ((61, 95), save(quality=95)),
    "visible.dcm": ((96, 62), visible_light),
    "1.2.840.1": ((62, 96), visible_light),
}


def make_photographs(folder: Path) -> Path:
    """Write a photograph of each kind that is read."""
    folder.mkdir()
    for name, (shape, write) in KINDS.items():
        write(folder / name, photograph(bright_part(*shape)))
    return folder


def make_bad_photographs(folder: Path) -> dict[str, str]:
    """Write files that cannot be segmented; what is said of them."""
    image = photograph(bright_part(60, 80))
    frames = [Image.fromarray(np.roll(image, shift, axis=0)) for shift in (0, 9, 20)]
    (folder / "empty.jpg").touch()
    (folder / "junk.png").write_text("junk")
    (folder / "junk.dcm").write_text("junk")
    save(quality=95)(folder / "truncated.jpg", image)
    (folder / "truncated.jpg").write_bytes((folder / "truncated.jpg").read_bytes()[:-300])
    save("L")(folder / "constant.png", np.full_like(image, 90))
    save()(folder / "uniform.png", np.full_like(image, (200, 120, 90)))
    for name in ("animated.png", "animated.webp"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:])
    visible_light(folder / "video.dcm", image, frames=3)
    return {
        "empty.jpg": "empty.jpg is an empty file (0 bytes): copy or export it again",
        "junk.png": "junk.png is damaged or not a PNG",
        "junk.dcm": "junk.dcm is damaged or not a DICOM file",
        "truncated.jpg": "truncated.jpg is damaged",
        "constant.png": "constant.png is constant, all values are 90: export it again",
        "uniform.png": "uniform.png is constant, all values are 200, 120, 90: export it again",
        "animated.png": "animated.png holds 3 frames: give one image a file",
        "animated.webp": "animated.webp holds 3 frames: give one image a file",
        "video.dcm": "video.dcm holds 3 frames: give one image a file",
    }


@pytest.fixture(scope="module")
def brightness(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a run whose network gives the mean of the channels: a mask lies where the photograph is bright."""
    path = tmp_path_factory.mktemp("brightness") / "model.pt"
    torch.save({"weight": torch.full((1, 3, 1, 1), 1 / 3), "bias": torch.zeros(1)}, path)
    return {
        "network": {"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 1, "kernel_size": 1},
        "inferer": {"_target_": "monai.inferers.SimpleInferer"},
        "ckpt_path": str(path),
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory, brightness: dict[str, Any]) -> Path:
    """A folder of photographs, "in", and of what the bundle makes of them, "out"."""
    folder = tmp_path_factory.mktemp("segmented")
    photographs = make_photographs(folder / "in")
    flow = workflow(INFERENCE, **brightness, dataset_dir=str(photographs), output_dir=str(folder / "out"))
    flow.run()
    flow.finalize()
    return folder


def mask_of(name: str, folder: Path) -> Path:
    """The mask that was written for a photograph."""
    return folder / "out" / rows(folder / "out" / "report.csv")[name]["mask"]


def write_datalist(path: Path, items: list[dict[str, str]]) -> dict[str, str]:
    """Write a list of images with labels, and return the settings of a run on it."""
    path.write_text(json.dumps({"test": items}))
    return {"datalist": str(path)}


@pytest.mark.parametrize("name", KINDS)
def test_mask_lies_where_the_photograph_is_bright(segmented: Path, name: str) -> None:
    path, (shape, _) = mask_of(name, segmented), KINDS[name]
    mask = read_mask(path)
    if path.suffix == ".png":
        assert set(np.unique(mask)) == {0, 255}
    else:
        # a DICOM file's mask is NIfTI: columns first, one slice
        assert set(np.unique(mask)) == {0, 1} and mask.shape[2] == 1
        mask = mask[..., 0].T
    assert mask.shape == shape
    assert overlap(mask, bright_part(*shape)) > 0.93
    with Image.open(segmented / "out" / rows(segmented / "out" / "report.csv")[name]["overlay"]) as overlay:
        # the photograph without and with the outline, side by side
        assert overlay.mode == "RGB" and overlay.width / overlay.height == pytest.approx(2 * shape[1] / shape[0], 0.1)


def test_command_reports_bad_photographs_and_does_the_others(tmp_path: Path) -> None:
    photographs = make_photographs(tmp_path / "in")
    bad = make_bad_photographs(photographs)
    network = tiny(tmp_path / "model.pt", image_channels=3)
    done = run_command(INFERENCE, **network, dataset_dir=photographs, output_dir=tmp_path / "out")
    assert done.returncode == 1, done.stderr
    told = f"{len(bad)} of {len(KINDS) + len(bad)} images failed: see the messages in {tmp_path}/out/report.csv"
    assert done.stderr.strip().endswith(told)
    report = rows(tmp_path / "out" / "report.csv")
    assert {name for name, row in report.items() if row["status"] == "ok"} == set(KINDS)
    for name, reason in bad.items():
        message = report[name]["message"]
        assert reason in message and "\n" not in message and report[name]["mask"] == ""
        assert f"{name}: FAILED: {message}" in done.stdout
    for name, (shape, _) in KINDS.items():
        assert f"{name}: ok" in done.stdout
        assert float(report[name]["reconstruction_error"]) > 0
        mask = read_mask(mask_of(name, tmp_path))
        assert mask.shape == (shape if mask.ndim == 2 else (*shape[::-1], 1))


def test_evaluation_scores_by_the_jaccard_index(tmp_path: Path, segmented: Path, brightness: dict[str, Any]) -> None:
    items = [{"image": name, "label": str(mask_of(name, segmented))} for name in KINDS]
    # the label of a turned photograph is drawn on what is displayed, or is turned by its own EXIF
    upright = mask_of("upright.png", segmented)
    turned(8)(tmp_path / "turned.png", np.asarray(Image.open(upright).convert("RGB")))
    items += [{"image": "turned_6.png", "label": str(label)} for label in (upright, tmp_path / "turned.png")]
    perfect = len(items)
    half = np.array(Image.open(upright))
    half[:, KINDS["upright.png"][0][1] // 4 :] = 0
    stored = np.rot90(half)
    for name, label in (("half", half), ("stored", stored)):
        Image.fromarray(label).save(tmp_path / f"{name}.png")
        items.append({"image": "turned_6.png", "label": str(tmp_path / f"{name}.png")})
    flow = workflow(
        EVALUATE,
        **brightness,
        **write_datalist(tmp_path / "datalist.json", items),
        dataset_dir=str(segmented / "in"),
        output_dir=str(tmp_path / "scores"),
    )
    assert flow.check_properties() == []
    flow.run()
    with pytest.raises(SystemExit, match=f"1 of {len(items)} images failed"):
        flow.finalize()

    header, *lines = (tmp_path / "scores" / "report.csv").read_text().splitlines()
    assert header.endswith(",patient,iou,thresholded_iou,dice")
    scores = [tuple(map(float, line.split(",")[-3:])) for line in lines if ",ok," in line]
    assert scores[:perfect] == [(1, 1, 1)] * perfect
    iou = (half > 0).sum() / (np.asarray(Image.open(upright)) > 0).sum()
    assert 0 < iou < 0.65
    assert scores[perfect:] == [pytest.approx((iou, 0, 2 * iou / (1 + iou)), abs=1e-6)]
    (failed,) = [line for line in lines if ",failed," in line]
    assert "is on another grid than its image" in failed
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert summary["iou"]["mean"] == pytest.approx((perfect + iou) / (perfect + 1), abs=1e-6)
    assert summary["thresholded_iou"]["mean"] == pytest.approx(perfect / (perfect + 1), abs=1e-6)


def test_preprocessing_takes_out_the_light_and_scales(tmp_path: Path) -> None:
    preprocess = workflow(INFERENCE).parser.get_parsed_content("preprocessing")
    images = []
    for index, light in enumerate([(1.0, 1.0, 1.0), (1.0, 0.7, 0.5), (0.6, 0.8, 1.0)]):
        path = tmp_path / f"{index}.png"
        save()(path, photograph(bright_part(90, 120), light))
        images.append(preprocess({"image": str(path)})["image"].as_tensor())
    for image in images:
        assert image.shape == (3, 128, 128) and image.dtype == torch.float32
        assert image.min() == -1 and image.max() == 1
        torch.testing.assert_close(image, images[0], atol=0.03, rtol=0)


def test_camera_shift_takes_the_place_of_the_colour_conversion() -> None:
    (shift,) = [key for key in ConfigParser.load_config_file(SHIFT) if key.startswith("steps")]
    replaced = ConfigParser.load_config_file(INFERENCE[0])["steps"][shift.removeprefix("steps::")]
    assert replaced == {"_target_": "monai_semgan.transforms.ToRGBd", "keys": "image"}
    assert ConfigParser.load_config_file(SHIFT)[shift]["transforms"][0] == replaced


def test_camera_shift_changes_photographs_alone(tmp_path: Path, segmented: Path, brightness: dict[str, Any]) -> None:
    names = [name for name in KINDS if not name.startswith("deep")]
    items = [{"image": name, "label": str(mask_of(name, segmented))} for name in names]

    def evaluate(files: list[str], output: str, items: list[dict[str, str]], **settings: Any) -> ConfigWorkflow:
        data = write_datalist(tmp_path / f"{output}.json", items) | {"dataset_dir": str(segmented / "in")}
        return workflow(files, **brightness, **data, output_dir=str(tmp_path / output / "out"), **settings)

    plain = evaluate(EVALUATE, "plain", items)
    first = evaluate([*EVALUATE, SHIFT], "first", items)
    second = evaluate([*EVALUATE, SHIFT], "second", items[::-1], batch_size=5)
    datasets = [flow.parser.get_parsed_content("dataset") for flow in (plain, first, second)]
    for index in range(len(items)):
        before, after, again = datasets[0][index], datasets[1][index], datasets[2][-1 - index]
        assert after["file"] == again["file"] == names[index]
        assert torch.equal(before["label"], after["label"])
        assert (before["image"] - after["image"]).abs().mean() > 0.01
        assert torch.equal(after["image"], again["image"])
        assert after["image"].shape == (3, 128, 128) and after["image"].min() == -1 and after["image"].max() == 1

    for flow in (first, second):
        assert flow.check_properties() == []
        flow.run()
        flow.finalize()
    one, other = (rows(tmp_path / name / "out" / "report.csv") for name in ("first", "second"))
    assert one == other
    assert all(0.5 < float(row["iou"]) <= 1 for row in one.values())
    assert any(float(row["iou"]) < 1 for row in one.values())
    for name in names:
        mask, repeated = (read_mask(mask_of(name, tmp_path / run)) for run in ("first", "second"))
        np.testing.assert_array_equal(mask, repeated)
        assert mask.shape == read_mask(mask_of(name, segmented)).shape


def test_unet_is_evaluated_on_shifted_photographs(tmp_path: Path, segmented: Path) -> None:
    items = [{"image": name, "label": str(mask_of(name, segmented))} for name in ("upright.png", "turned_6.jpg")]
    files = [*EVALUATE, UNET, SHIFT]
    settings = {"network_def::size": 32, "device": "cpu", **write_datalist(tmp_path / "datalist.json", items)}
    settings |= {"dataset_dir": str(segmented / "in"), "output_dir": str(tmp_path / "out")}
    network = workflow(files, **settings).parser.get_parsed_content("network")
    torch.save(network.state_dict(), tmp_path / "model.pt")
    flow = workflow(files, **settings, ckpt_path=str(tmp_path / "model.pt"))
    flow.run()
    flow.finalize()
    assert {row["status"] for row in rows(tmp_path / "out" / "report.csv").values()} == {"ok"}


def test_label_budgets_share_a_generator(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {"unlabeled": 9, "train_40": 40, "train_200": 200, "val": 2, "test": 3}
    datalist = {name: [{"image": f"{name}_{index}.jpg"} for index in range(n)] for name, n in numbers.items()}
    (tmp_path / "skin_lesion").mkdir()
    (tmp_path / "skin_lesion" / "datalist.json").write_text(json.dumps(datalist))
    monkeypatch.setenv("SEMGAN_DATA", str(tmp_path))
    config = label_budget.load_config(Bundle(bundle), output_dir=str(tmp_path / "out"))
    stages = {stage.folder.relative_to(tmp_path / "out").as_posix(): stage for stage in label_budget.plan(config)}
    methods = ("unet", "encoder", "refined", "student_answer", "both_answer")
    unet, *rest = ([f"{name}_{key}" for key in ("val", "val_shift", "test", "shift")] for name in methods)
    last = ["encoder", *rest[0], *rest[1], "student", *rest[2], *rest[3]]
    few, more = ["unet", *unet, "gan", *last], ["unet", *unet, *last]
    assert list(stages) == [f"train_40/{name}" for name in few] + [f"train_200/{name}" for name in more]
    for labels in (40, 200):
        settings = stages[f"train_{labels}/encoder"].settings
        assert settings["gan_ckpt_path"] == tmp_path / "out" / "train_40" / "gan" / "state.pt"
        assert settings["teacher_ckpt_path"] == tmp_path / "out" / f"train_{labels}" / "unet" / "model.pt"
        for method in methods:
            test, shift = (stages[f"train_{labels}/{method}_{key}"] for key in ("test", "shift"))
            assert shift.settings == test.settings and shift.settings["list_key"] == "test"
            assert shift.config_files == (*test.config_files, str(bundle / "configs" / "camera_shift.yaml"))
            assert shift.row is not None and (shift.row["labels"], shift.row["list"]) == (labels, "shift")


def test_training_makes_weights_for_inference(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_bundle(tmp_path, repository, "lesion_dermoscopy_segmentation"))
    data = {"datalist": str(tiny_data(tmp_path / "data", (1.0, 0.7, 0.6))), "dataset_dir": str(tmp_path / "data")}
    weights = str(tmp_path / "model.pt")

    def train(name: str, **settings: Any) -> Any:
        lists: dict[str, Any] = {"train_list": "train_2", "image_lists": ["unlabeled", "train_3"]}
        settings |= {"output_dir": str(tmp_path / name), "max_epochs": 1, "steps_per_epoch": 2, "num_workers": 0}
        flow = ConfigWorkflow(
            f"configs/{name}.yaml", logging_file=False, workflow_type="train", **data, **lists, **settings
        )
        flow.initialize()
        assert flow.check_properties() == []
        flow.run()
        flow.finalize()
        return flow.parser

    gan = train("train_gan")
    loader = gan.get_parsed_content("train::dataloader")
    assert len(loader.images) == LISTS["unlabeled"] + LISTS["train_3"] and len(loader.pairs) == LISTS["train_2"]
    for item in loader.pairs:
        assert item["image"].shape == (3, 32, 32) and item["label"].shape == (1, 32, 32)
        # the colours are balanced, and the bright ellipses are where the label is
        assert item["image"].mean((1, 2)).std() < 0.05
        assert item["image"][:, item["label"][0] == 1].mean() > item["image"][:, item["label"][0] == 0].mean() + 0.5
    checkpoint = str(tmp_path / "train_gan" / "state.pt")
    # StatsHandler would keep writing to the standard output of this test
    encoder = train(
        "train_encoder", gan_ckpt_path=checkpoint, ckpt_path=weights, val_interval=1, **{"validate::handlers": []}
    )
    assert 0 <= encoder.get_parsed_content("validate::evaluator").state.metrics["val_mean_dice"] <= 1

    flow = workflow(EVALUATE, **data, logging_file=False, ckpt_path=weights, output_dir=str(tmp_path / "out"))
    flow.run()
    flow.finalize()
    network = flow.parser.get_parsed_content("network")
    for name, value in encoder.get_parsed_content("train::trainer").ema.average.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["images"], summary["failed"]) == (LISTS["test"], 0)
