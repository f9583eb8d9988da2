# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from torch import nn

from monai_semgan.bundle import (
    Bundle,
    bundle_folders,
    class_of,
    description,
    find_bundle,
    flag,
    keep_freed_memory,
    label_channels,
    largest_components,
    literal,
    or_exit,
    parsed,
    run_cohort,
)
from monai_semgan.inferers import WPlusInferer
from tests.tiny_bundle import tiny_bundle

MEMORY_PROBE = """
import resource, torch
from monai_semgan.bundle import keep_freed_memory
def faults():
    for _ in range(20):
        torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults())
assert keep_freed_memory()
print(faults())
"""


@pytest.fixture
def bundle(tmp_path: Path, repository: Path) -> Bundle:
    return Bundle(tiny_bundle(tmp_path, repository))


def write(bundle: Bundle, name: str, text: str) -> None:
    (bundle.root / "configs" / name).write_text(text)


def test_bundles_are_found_by_path_and_by_name(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = repository / "bundles" / "lung_xray_segmentation"
    assert folder in bundle_folders()
    for name in (folder, str(folder), "lung_xray_segmentation", "lung_xray", "lung"):
        assert find_bundle(name) == folder
    assert Bundle("liver").name == "liver_ct_mri_segmentation"
    # a folder of this name is meant, and is no bundle
    (tmp_path / "lung").mkdir()
    # two that begin alike, and a part of a word
    for name in ("lung", "lun", "l", tmp_path, ""):
        with pytest.raises(FileNotFoundError, match="is no folder with configs/inference.yaml, nor the name"):
            find_bundle(name)


def test_parts_of_a_bundle_from_any_working_directory(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bundle.classes == {"lung": (255, 128, 0)} and bundle.spatial_dims == 2
    assert bundle.metadata["network_data_format"]["outputs"]["pred"]["channel_def"] == {"0": "lung"}
    parser = bundle.parser()
    assert parser.get_parsed_content("ckpt_path") == str(bundle.root / "models" / "model.pt")
    assert isinstance(parser.get_parsed_content("network"), nn.Module)
    inferer = bundle.parser(**{"displayable_configs::preset": "best", "displayable_configs::refine_steps": -1})
    assert parsed(inferer, "inferer").steps == WPlusInferer.from_preset("best").steps
    assert Path.cwd() == tmp_path


def test_macros_name_files_of_the_bundle(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    read = bundle.read("train_gan.yaml")
    assert read["network_def"]["size"] == 32
    # as MONAI resolves them in the bundle's folder
    monkeypatch.chdir(bundle.root)
    monai = ConfigParser(ConfigParser.load_config_file("configs/train_gan.yaml"))
    monai.parse()
    assert monai.get() == read
    with pytest.raises(FileNotFoundError, match="config none.yaml is neither in"):
        bundle.read("none.yaml")


def test_files_are_merged_in_order(bundle: Bundle, tmp_path: Path) -> None:
    write(bundle, "a.yaml", "number: 1\nlist: [1]\nnested: {x: 1, y: 2}\n")
    (tmp_path / "b.yaml").write_text("number: 2\n+list: [2]\nnested::y: 3\n")
    assert bundle.read("a.yaml", tmp_path / "b.yaml") == {"number": 2, "list": [1, 2], "nested": {"x": 1, "y": 3}}


@pytest.mark.parametrize(
    "text", ["20240101", "@home", "%x", "=a", "$1 + 1", "a'b", 'a"b', "a#b::c", "ä €", "\\n", "", "-1"]
)
def test_text_is_text(bundle: Bundle, text: str) -> None:
    write(bundle, "a.yaml", "value:\ncopy: '$@value'\n")
    parser = bundle.parser("a.yaml", value=text)
    assert parser.get_parsed_content("copy") == text


@given(st.text())
def test_any_text_is_text(text: str) -> None:
    parser = ConfigParser({"value": literal(text), "copy": "@value"})
    assert parser.get_parsed_content("copy") == text


def test_settings_have_to_exist(bundle: Bundle) -> None:
    write(bundle, "a.yaml", "number: 1\n")
    parser = bundle.parser("a.yaml", number=[1, 2])
    assert parser.get_parsed_content("number") == [1, 2]
    with pytest.raises(ValueError, match="setting numbr is in none of a.yaml"):
        bundle.parser("a.yaml", numbr=2)


def test_mistakes_come_out_of_what_monai_wraps_them_into(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="^preset is 'bset', it must be one of fast, balanced, best$"):
        parsed(bundle.parser(**{"displayable_configs::preset": "bset"}), "inferer")
    write(bundle, "a.yaml", "fault: '$1 / 0'\n")
    with pytest.raises(RuntimeError, match="1 / 0"):
        parsed(bundle.parser("a.yaml"), "fault")


def test_run_does_initialize_run_and_finalize(bundle: Bundle, tmp_path: Path) -> None:
    steps = "".join(
        f'{name}:\n- \'$open(@path, "a").write("{name} ")\'\n' for name in ("run", "finalize", "initialize")
    )
    write(bundle, "a.yaml", f"path: none\n{steps}")
    bundle.run("a.yaml", path=tmp_path / "log")
    assert (tmp_path / "log").read_text() == "initialize run finalize "
    assert logging.getLogger().handlers


def test_weights_the_newest_first(bundle: Bundle) -> None:
    assert bundle.weights() == [] and bundle.next_weights() == "model_v2.pt"
    assert f"copy them to {bundle.root / 'models' / 'model.pt'}" in (bundle.lacking() or "")
    (bundle.root / "models").mkdir(exist_ok=True)
    for name in ("model.pt", "model_v2.pt", "model_v10.pt", "model_v3.json", "other.pt"):
        (bundle.root / "models" / name).touch()
    assert bundle.weights() == ["model_v10.pt", "model_v2.pt", "model.pt"]
    assert bundle.next_weights() == "model_v11.pt" and bundle.lacking() is None


def test_plain_errors_show_the_message_alone(tmp_path: Path) -> None:
    code = "from monai_semgan.bundle import plain_errors\nplain_errors()\n"
    for fault, words, traceback in (
        ("raise RuntimeError('wrapped') from ValueError('size is 3, it must be 4')", "error: size is 3", False),
        ("raise FileNotFoundError('none.png is missing')", "error: none.png is missing", False),
        ("1 / 0", "ZeroDivisionError", True),
    ):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code + fault], capture_output=True, text=True)
        assert done.returncode == 1 and words in done.stderr
        assert ("Traceback" in done.stderr) == traceback


def test_or_exit() -> None:
    assert or_exit(int, "12", base=8) == 10
    with pytest.raises(SystemExit, match="^error: invalid literal"):
        or_exit(int, "x")
    with pytest.raises(TypeError):
        or_exit(int, None)


def test_yes_and_no_as_words() -> None:
    for value in (True, "true", "True", "yes", 1, "1"):
        assert flag(value) is True
    for value in (False, "false", "no", 0, "0"):
        assert flag(value) is False
    with pytest.raises(SystemExit, match="'maybe' is no choice between yes and no"):
        flag("maybe")


def test_nothing_left_to_do_is_a_run_too() -> None:
    seen = []

    class Engine:
        data_loader: list[int] = []
        fire_event = staticmethod(lambda event: seen.append(event.name))

    run_cohort(Engine())
    assert seen == ["STARTED", "COMPLETED"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the GNU C library alone is told")
def test_large_tensors_reuse_memory() -> None:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEMORY_PROBE], capture_output=True, text=True, check=True
    )
    before, after = map(int, result.stdout.split())
    assert after < before / 10


def test_other_devices_and_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep_freed_memory("cuda") is False
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory(torch.device("cpu")) is False


def item_of_mask(**measurements: dict[str, float]) -> dict[str, Any]:
    return {"pred": MetaTensor(torch.ones(1, 2, 2)), "measurements": measurements}


def test_masks_are_told_what_they_mean_and_what_they_become(repository: Path) -> None:
    root = repository / "bundles" / "lung_xray_segmentation"
    sizes = {"right_lung_area": {"cm2": 212.4, "pixels": 40000}, "heart_area": {"cm2": 99.0}}
    meta = description(root, {"lung": [1, 2, 3]}, "seg, nifti")(item_of_mask(**sizes))["pred"].meta
    assert meta["formats"] == ["seg", "nifti"]
    (segment,) = meta["segments"]
    assert segment["SegmentLabel"] == "lung" and segment["recommendedDisplayRGBValue"] == [1, 2, 3]
    assert segment["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == "39607008"
    assert segment["SegmentAlgorithmName"] == "lung_xray_segmentation"
    assert segment["SegmentAlgorithmVersion"] == Bundle(root).metadata["version"]
    assert segment["SegmentDescription"] == "right lung area 212 cm2"


def test_formats_that_cannot_be_are_said_at_once(repository: Path, tmp_path: Path) -> None:
    root = repository / "bundles" / "lung_xray_segmentation"
    with pytest.raises(ValueError, match="format nift is unknown: say auto, nifti, nrrd, png, seg"):
        description(root, {"lung": [1, 2, 3]}, ["nift"])
    with pytest.raises(ValueError, match="format seg needs the coded_terms of spleen in .*metadata.json"):
        description(root, {"spleen": [1, 2, 3]}, ["auto", "seg"])
    # without terms all but seg goes
    meta = description(tmp_path, {"lung": [1, 2, 3]})(item_of_mask())["pred"].meta
    assert meta["formats"] == ["auto"] and meta["segments"][0]["SegmentLabel"] == "lung"


@pytest.mark.parametrize(("classes", "channels"), [(1, 1), (2, 3), (20, 21), (255, 256)])
def test_classes_say_whether_it_is_a_sigmoid_or_a_softmax(classes: int, channels: int) -> None:
    assert label_channels([str(index) for index in range(classes)]) == channels


@pytest.mark.parametrize("classes", [0, 256])
def test_a_byte_tells_255_classes_apart(classes: int) -> None:
    with pytest.raises(ValueError, match=f"classes names {classes}, it has to be 1 to 255"):
        label_channels([str(index) for index in range(classes)])


def test_pieces_are_kept_of_each_class() -> None:
    mask = torch.zeros(1, 9, 9)
    # two pieces of each class, that of two pixels first
    mask[0, 0, 0:2], mask[0, 0, 4], mask[0, 4, 0:2], mask[0, 4, 4] = 1, 1, 2, 2
    names = ["lung", "heart"]

    def kept(number: Any) -> list[int]:
        found = largest_components(number, names)({"pred": mask.clone()})["pred"]
        return [int((found == value).sum()) for value in (1, 2)]

    assert kept(0) == kept(2) == kept({}) == [3, 3]
    assert kept(1) == [2, 2]
    assert kept({"heart": 1}) == [3, 2] and kept({"lung": 1, "heart": 2}) == [2, 3]
    with pytest.raises(ValueError, match="largest_components names liver, the classes are lung, heart"):
        largest_components({"liver": 1}, names)


def test_measurements_belong_to_the_class_with_the_longest_name() -> None:
    classes = ["eye", "eyebrow", "right lung", "lung"]
    assert class_of("eyebrow_area", classes) == "eyebrow" and class_of("eye_area", classes) == "eye"
    assert class_of("right_lung_area", classes) == "right lung" and class_of("left_lung_area", classes) == "lung"
    assert class_of("cardiothoracic_ratio", classes) is None
