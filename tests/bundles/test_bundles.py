# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What holds for every bundle."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out

from monai_semgan.bundle import Bundle
from monai_semgan.networks.weights import load_weights
from tests.bundle_runs import TINY

BUNDLES = sorted(path.parents[1] for path in Path(__file__).parents[2].glob("bundles/*/configs/metadata.json"))
# three bundles and the code, in a wheel of at most 100 MB
LARGEST_WEIGHTS = 32_000_000
INFERENCE = "configs/inference.yaml"
METADATA = "configs/metadata.json"
# what two bundles of images do in another way
OWN = {
    "_desc_",
    "network_def",
    "steps",
    "preparation",
    "inferer",
    "displayable_configs",
    "largest_components",
    "classes",
    "measurements",
    "threshold",
}
# what bundles of volumes do in another way than those of images
VOLUMETRIC = {
    *("batch_size", "modality", "display", "dataset", "preprocessing", "imports"),
    *("post_steps", "probabilities", "postprocessing"),
}
EVALUATE = "configs/evaluate.yaml"


@pytest.fixture(autouse=True, params=BUNDLES, ids=lambda folder: folder.name)
def bundle(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle's folder, in which its commands run."""
    monkeypatch.chdir(request.param)
    return request.param


def read(path: str | Path) -> dict[str, Any]:
    return ConfigParser.load_config_file(str(path))


@pytest.mark.parametrize("name", ["inference", "evaluate"])
def test_inference_has_the_properties_of_a_bundle(name: str) -> None:
    files = [INFERENCE] if name == "inference" else [INFERENCE, f"configs/{name}.yaml"]
    flow = ConfigWorkflow(config_file=files, workflow_type="infer")
    flow.initialize()
    assert flow.check_properties() == []


@pytest.mark.parametrize("name", ["train_gan", "train_encoder"])
def test_settings_make_the_augmentations_of_a_training(name: str) -> None:
    parser = ConfigParser(read(f"configs/{name}.yaml"))
    parser.parse()
    assert parser.get_parsed_content("jitter").moves
    assert parser.get_parsed_content("max_epochs") > 0
    # what the encoder sees is perturbed where it lies
    assert name == "train_gan" or not parser.get_parsed_content("augmentation").moves


def test_bundles_share_what_is_not_their_own(bundle: Path) -> None:
    mine, other = read(INFERENCE), read(BUNDLES[0] / INFERENCE)
    own = OWN | (VOLUMETRIC if mine["steps"]["read"]["reader"]["spatial_dims"] == 3 else set())
    assert {key for key in {*mine, *other} if mine.get(key) != other.get(key)} <= own


def test_classes_are_those_of_the_metadata(bundle: Path) -> None:
    channels = read(METADATA)["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert list(Bundle(bundle).classes) == [name for name in channels.values() if name != "background"]
    assert all(len(colour) == 3 and set(colour) <= set(range(256)) for colour in Bundle(bundle).classes.values())


def test_transforms_are_addressed_by_name(bundle: Path) -> None:
    positions = re.compile(r"transforms::\d|::\d+(::|$)")
    for path in sorted((bundle / "configs").glob("*.yaml")):
        assert not positions.search(path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize(
    "files", [[INFERENCE], [INFERENCE, EVALUATE], [INFERENCE, EVALUATE, "configs/evaluate_unet.yaml"]]
)
def test_configs_name_what_there_is(
    bundle: Path, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A bundle copied alone to another machine: every reference and macro is found within its folder."""
    copied = tmp_path / bundle.name
    shutil.copytree(bundle / "configs", copied / "configs")
    monkeypatch.chdir(copied)
    parser = ConfigParser(ConfigParser.load_config_files(files))
    parser["ckpt_path"] = "none.pt"
    parser.parse()
    for name in ("preprocessing", "postprocessing", "display", "inferer", "network", "dataset", "report"):
        assert parser.get_parsed_content(name) is not None


def test_metadata_fits_the_network() -> None:
    metadata = read(METADATA)
    assert metadata["version"] in metadata["changelog"]
    parser = ConfigParser(read(INFERENCE))
    names = ("size", "image_channels", "label_channels")
    network = {name: parser.get_parsed_content(f"network_def::{name}") for name in names}
    data = metadata["network_data_format"]
    image, pred = data["inputs"]["image"], data["outputs"]["pred"]
    assert image["spatial_shape"] == pred["spatial_shape"] == [network["size"]] * 2
    assert image["num_channels"] == len(image["channel_def"]) == network["image_channels"]
    parser = ConfigParser(read(INFERENCE))
    assert pred["num_channels"] == parser.get_parsed_content("network_def::label_channels")


def test_metadata_against_the_schema(repository: Path) -> None:
    schema = Path(os.environ.get("SEMGAN_SCHEMA", repository.parent / "shared" / "schema")).resolve()
    files = sorted(schema.glob("*.json")) if schema.is_dir() else [schema]
    if not files or not files[0].is_file():
        pytest.skip(f"no metadata schema at {schema}: set SEMGAN_SCHEMA to the file or its folder")
    verify_metadata(meta_file=METADATA, filepath=files[0])


def test_network_takes_and_gives_what_the_metadata_says() -> None:
    verify_net_in_out(net_id="network_def", meta_file=METADATA, config_file=INFERENCE, device="cpu")


def test_export_to_torchscript(tmp_path: Path) -> None:
    config = read(INFERENCE)
    channels = config["network_def"]["image_channels"]
    config["network_def"] |= TINY
    network = ConfigParser(config).get_parsed_content("network_def").eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=METADATA,
        config_file=INFERENCE,
        **{f"network_def::{key}": value for key, value in TINY.items()},
    )
    image = torch.rand(2, channels, 32, 32) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(tmp_path / "model.ts").eval()(image), network(image))


def test_shipped_weights_fit_the_network_and_the_size_limit() -> None:
    weights = Path("models/model.pt")
    if not weights.is_file():
        pytest.skip("this bundle ships no weights")
    assert weights.stat().st_size <= LARGEST_WEIGHTS
    load_weights(ConfigParser(read(INFERENCE)).get_parsed_content("network_def"), weights)


def test_reported_results_are_those_of_the_documentation() -> None:
    """Every number of eval_metrics stands in the bundle's README, rounded as there."""
    results = json.loads(Path(METADATA).read_text(encoding="utf-8"))["eval_metrics"]
    text = Path("docs/README.md").read_text(encoding="utf-8")
    for name, value in results.items():
        assert f"{value:.3f}" in text, name
