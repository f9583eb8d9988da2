# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from monai_semgan.apps import synthesise as app
from monai_semgan.apps.synthesise import Filters, SampleSource, synthesise
from monai_semgan.bundle import Bundle, parsed
from monai_semgan.data import SliceDataset
from monai_semgan.networks.nets import ImageDiscriminator, SemanticGAN
from tests.tiny_bundle import TINY_NETWORK, tiny_bundle, tiny_data

SIZE = TINY_NETWORK["size"]
LUNG, LESION, LIVER = (f"{name}_segmentation" for name in ("lung_xray", "lesion_dermoscopy", "liver_ct_mri"))
# label maps of a network that was never trained are crumbs
ANY = Filters(pieces=0)
Make = Callable[..., Bundle]


@pytest.fixture
def make(tmp_path: Path, repository: Path) -> Make:
    """Make a bundle of random weights that draws images."""

    def made(name: str = LUNG, **network_def: Any) -> Bundle:
        root = tiny_bundle(tmp_path / name, repository, name)
        path = root / "configs" / "inference.yaml"
        config = yaml.safe_load(path.read_text())
        config["network_def"] |= {"label_channels": 1} | network_def
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        network = SemanticGAN(**{key: value for key, value in config["network_def"].items() if key != "_target_"})
        for head in network.encoder.heads:
            torch.nn.init.normal_(head.linear.weight, std=0.1)
        network.prior.fit(torch.randn(20, network.generator.num_codes, network.generator.latent_dim))
        (root / "models").mkdir()
        torch.save(network.state_dict(), root / "models" / "model.pt")
        return Bundle(root)

    return made


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "samples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def items(folder: Path) -> list[dict[str, str]]:
    return json.loads((folder / "datalist.json").read_text())["synthetic"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("name", "mode"), [(LUNG, "L"), (LESION, "RGB")])
def test_samples_are_written_as_the_network_draws_them(make: Make, tmp_path: Path, name: str, mode: str) -> None:
    bundle, output = make(name), tmp_path / "out"
    told = synthesise(bundle, output, number=3, truncation=0.7, seed=5, filters=ANY)
    found = rows(output)
    kept = [row for row in found if row["status"] == "kept"]
    assert told.startswith(f"kept 3 of {len(found)} samples drawn")
    assert [int(row["seed"]) for row in found] == list(range(5, 5 + len(found)))
    assert [item["image"] for item in items(output)] == [row["file"] for row in kept] and len(kept) == 3
    network: Any = bundle.predictor(device="cpu").network
    for row, item in zip(kept, items(output)):
        seeded = torch.Generator().manual_seed(int(row["seed"]))
        codes = network.prior.sample(1, truncation=0.7, generator=seeded)
        stored = np.load(output / item["image"].replace("images", "codes").replace(".png", ".npy"))
        np.testing.assert_allclose(stored, codes[0].numpy(), rtol=1e-6)
        image, logits = network.decode(codes)
        with Image.open(output / item["image"]) as picture, Image.open(output / item["label"]) as mask:
            assert picture.mode == mode and mask.mode == "L"
            levels = torch.from_numpy(np.array(picture)).reshape(SIZE, SIZE, -1).permute(2, 0, 1)
            assert np.array_equal(np.array(mask), (logits[0, 0] > 0).numpy() * 255)
        torch.testing.assert_close(levels / 127.5 - 1, image[0].clamp(-1, 1), atol=0.5 / 127.5 + 1e-5, rtol=0)
        assert float(row["foreground"]) == pytest.approx((logits > 0).float().mean().item(), abs=1e-5)
    with Image.open(output / "kept.png") as shown:
        assert shown.size == (8 * (SIZE + 2) + 2, 2 * (SIZE + 2) + 2)


@pytest.mark.parametrize("name", [LUNG, LESION, LIVER])
def test_trainings_read_what_the_network_drew_with_its_label_in_place(make: Make, tmp_path: Path, name: str) -> None:
    bundle, output = make(name), tmp_path / "out"
    synthesise(bundle, output, number=4, filters=ANY)
    parser = bundle.parser("train_gan.yaml", datalist=str(output / "datalist.json"), train_list="synthetic")
    pairs = SliceDataset(parsed(parser, "train::dataset"))
    # of volumes taken apart, trainings leave out some slices without label and add mirror images
    read = [(item["image"], item["label"]) for item in (pairs[index] for index in range(len(pairs)))]
    source = SampleSource(bundle.predictor(device="cpu"), bundle.window, 1.0)
    for row in rows(output):
        if row["status"] == "kept":
            drawing = source.draw(int(row["seed"]))
            image = source.read(drawing).image
            assert any(torch.equal(image, i) and torch.equal(drawing.label.float(), y[0]) for i, y in read)


@pytest.mark.parametrize("name", ["lung_xray", "lesion", "liver_ct_mri"])
def test_a_trained_networks_image_survives_the_bundles_preprocessing(name: str) -> None:
    bundle = Bundle(name)
    if not bundle.weights():
        pytest.skip("no weights")
    source = SampleSource(bundle.predictor(device="cpu"), bundle.window, 1.0)
    for seed in (0, 1):
        drawing = source.draw(seed)
        drawn = source.network.decode(source.codes(seed))[0][0].clamp(-1, 1)
        read = source.read(drawing).image
        both = torch.stack([read.flatten(), drawn.flatten()])
        # the intensities of each image are scaled and equalised anew
        assert torch.corrcoef(both)[0, 1] > 0.99 and (both[0] - both[1]).abs().mean() < 0.25
        # a shift by a pixel would be seen
        moved = torch.stack([read.roll(1, -1).flatten(), drawn.flatten()])
        assert torch.corrcoef(moved)[0, 1] < torch.corrcoef(both)[0, 1] - 1e-4
        assert 0.02 < drawing.label.float().mean() < 0.7


def test_several_classes_are_written_as_indices(make: Make, tmp_path: Path) -> None:
    bundle, output = make(label_channels=3), tmp_path / "out"
    synthesise(bundle, output, number=3, filters=ANY)
    network: Any = bundle.predictor(device="cpu").network
    values: set[int] = set()
    for row in rows(output):
        if row["status"] == "kept":
            _, logits = network.sample(1, generator=torch.Generator().manual_seed(int(row["seed"])))
            with Image.open(output / row["file"].replace("images", "labels")) as mask:
                assert np.array_equal(np.array(mask), logits[0].argmax(0).numpy())
                values |= set(np.unique(np.array(mask)).tolist())
    assert values <= {0, 1, 2} and len(values) > 1


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make()
    filters = Filters(pieces=0, variety=1.0)
    synthesise(bundle, tmp_path / "whole", number=6, filters=filters)
    whole = rows(tmp_path / "whole")
    assert {row["status"] for row in whole} == {"kept", "dropped"}

    # interrupted between a sample's files and its row
    replace, output = app.replace, tmp_path / "parts"

    def interrupt(path: Path, content: bytes) -> None:
        if path.parent.name == "codes" and len(list((output / "codes").glob("*.npy"))) == 3:
            raise KeyboardInterrupt
        replace(path, content)

    monkeypatch.setattr(app, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        synthesise(bundle, output, number=6, filters=filters)
    monkeypatch.setattr(app, "replace", replace)
    assert len(items(output)) == 3
    # killed within a row
    with (output / "samples.csv").open("a") as file:
        file.write("images/sample_000000")
    # a smaller number that is there already
    synthesise(bundle, output, number=2, filters=filters)
    assert len(items(output)) == 3
    synthesise(bundle, output, number=6, filters=filters)
    assert contents(output) == contents(tmp_path / "whole")


def test_samples_do_not_depend_on_where_a_run_begins(make: Make, tmp_path: Path) -> None:
    bundle = make()
    synthesise(bundle, tmp_path / "a", number=4, filters=ANY)
    last = rows(tmp_path / "a")[-1]
    synthesise(bundle, tmp_path / "b", number=1, seed=int(last["seed"]), filters=ANY)
    assert (tmp_path / "a" / last["file"]).read_bytes() == (tmp_path / "b" / last["file"]).read_bytes()


def test_other_settings_are_refused(make: Make, tmp_path: Path) -> None:
    bundle = make()
    synthesise(bundle, tmp_path / "out", number=1, filters=ANY)
    before = contents(tmp_path / "out")
    with pytest.raises(
        ValueError, match=r"was made with truncation 1.0, not 0.7: go on with the same, or name another"
    ):
        synthesise(bundle, tmp_path / "out", number=2, truncation=0.7, filters=ANY)
    weights = bundle.root / "models" / "model.pt"
    state = torch.load(weights, weights_only=True)
    torch.save({**state, "prior.mean": state["prior.mean"] + 1}, weights)
    with pytest.raises(ValueError, match="was made with weights"):
        synthesise(bundle, tmp_path / "out", number=2, filters=ANY)
    assert contents(tmp_path / "out") == before
    (tmp_path / "out" / "settings.json").unlink()
    with pytest.raises(ValueError, match="holds samples.csv but no settings.json"):
        synthesise(bundle, tmp_path / "out", number=2, filters=ANY)


def test_what_fails_a_criterion_is_dropped_and_says_so(make: Make, tmp_path: Path) -> None:
    bundle, output = make(), tmp_path / "out"
    teacher = parsed(bundle.parser("train_encoder.yaml"), "teacher_def")
    torch.save(teacher.state_dict(), tmp_path / "unet.pt")
    synthesise(
        bundle,
        tmp_path / "all",
        number=12,
        filters=Filters(pieces=0, teacher=str(tmp_path / "unet.pt"), agreement=0, variety=0),
    )
    everything = rows(tmp_path / "all")
    scores = sorted(float(row["agreement"]) for row in everything)
    assert scores[0] < scores[-1]
    least = scores[len(scores) // 2] - 1e-4
    synthesise(
        bundle,
        output,
        number=sum(score >= least for score in scores),
        filters=Filters(pieces=0, teacher=str(tmp_path / "unet.pt"), agreement=least, variety=0),
    )
    for row, free in zip(rows(output), everything):
        assert row["agreement"] == free["agreement"]
        fails = float(row["agreement"]) < least
        assert row["status"] == ("dropped" if fails else free["status"])
        assert (f"agreement {float(row['agreement']):.4g} below {least:.4g}" in row["message"]) == fails
        name = f"sample_{int(row['seed']):08d}"
        for folder, ending in (("images", ".png"), ("labels", ".png"), ("codes", ".npy")):
            assert (output / folder / f"{name}{ending}").is_file() == (row["status"] == "kept")
    assert (output / "dropped.png").is_file()


def test_no_training_image_is_drawn_again(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make()
    data = tiny_data(tmp_path / "data")
    filters = Filters(pieces=0, datalist=str(data), lists=["unlabeled", "train_2"], variety=0, originality=0)
    synthesise(bundle, tmp_path / "free", number=4, filters=filters)
    assert all(float(row["originality"]) > 0 for row in rows(tmp_path / "free"))
    training = torch.load(tmp_path / "free" / "training.pt", weights_only=True)
    assert len(training["factors"]) == 5
    # the samples themselves in place of training images
    known = str(tmp_path / "free" / "datalist.json")
    monkeypatch.setattr(app, "PATIENCE", 4)
    with pytest.raises(
        ValueError, match=r"kept 0 of 4(.*\n)*  originality: \d failed .*\nfewer than 1 sample in 20 is kept"
    ):
        synthesise(
            bundle,
            tmp_path / "out",
            number=1,
            filters=Filters(pieces=0, datalist=known, lists=["synthetic"], variety=0),
        )
    assert items(tmp_path / "out") == []
    kept = {row["seed"] for row in rows(tmp_path / "free") if row["status"] == "kept"}
    copied = [row for row in rows(tmp_path / "out") if row["seed"] in kept]
    assert copied and all(float(row["originality"]) < 0.01 for row in copied)


def test_a_discriminator_sets_its_least_score_by_training_images(make: Make, tmp_path: Path) -> None:
    bundle = make()
    discriminator = ImageDiscriminator(size=SIZE, channel_base=64, channel_max=8)
    torch.save({"image_discriminator": discriminator.state_dict()}, tmp_path / "state.pt")
    filters = {"pieces": 0, "discriminator": str(tmp_path / "state.pt"), "variety": 0}
    synthesise(bundle, tmp_path / "free", number=3, filters=Filters(**filters))
    source = SampleSource(bundle.predictor(device="cpu"), bundle.window, 1.0)
    for row in rows(tmp_path / "free"):
        image = source.read(source.draw(int(row["seed"]))).image
        assert float(row["realism"]) == pytest.approx(discriminator(image[None]).item(), rel=1e-3)
    # compared with themselves, those that score lower than half of all are dropped
    known = {"datalist": str(tmp_path / "free" / "datalist.json"), "lists": ["synthetic"], "originality": 0}
    synthesise(bundle, tmp_path / "half", number=2, filters=Filters(**filters, **known, realism=0.5))
    scores = sorted(float(row["realism"]) for row in rows(tmp_path / "free") if row["status"] == "kept")
    for row in rows(tmp_path / "half"):
        assert ("realism" in row["message"]) == (float(row["realism"]) < scores[1] - 1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"number": 0}, "number is 0 and seed 0, they must be at least 1 and 0"),
        ({"seed": -1}, "number is 1 and seed -1"),
        ({"truncation": 0.0}, "truncation is 0.0, it must be above 0"),
        ({"weights": "none.pt"}, "weights none.pt do not exist"),
        ({"filters": Filters(teacher="none.pt")}, "teacher none.pt does not exist: semgan train .* --stages unet"),
        ({"filters": Filters(discriminator="none.pt")}, "discriminator none.pt does not exist: name state.pt"),
        ({"filters": Filters(datalist="none.json")}, "datalist none.json does not exist"),
    ],
)
def test_wrong_settings_leave_nothing_behind(
    make: Make, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        synthesise(make(), tmp_path / "out", **{"number": 1, **settings})
    assert not (tmp_path / "out").exists()


def test_filters_are_checked() -> None:
    for settings in ({"agreement": 1.5}, {"realism": -0.1}, {"variety": -1}, {"originality": -1}, {"pieces": -1}):
        ((name, value),) = settings.items()
        with pytest.raises(ValueError, match=f"{name} is {value}, it must"):
            Filters(**settings)


def test_files_that_hold_something_else_are_named(make: Make, tmp_path: Path) -> None:
    bundle = make()
    weights = bundle.root / "models" / "model.pt"
    with pytest.raises(ValueError, match=r"model.pt holds no D_r of this bundle: name state.pt"):
        synthesise(bundle, tmp_path / "out", number=1, filters=Filters(discriminator=str(weights)))
    with pytest.raises(ValueError, match="are another network's"):
        synthesise(bundle, tmp_path / "out", number=1, filters=Filters(teacher=str(weights)))
    data = tiny_data(tmp_path / "data")
    (tmp_path / "data" / "unlabeled_1.png").write_bytes(b"junk")
    with pytest.raises(ValueError, match="training image unlabeled_1.png: unlabeled_1.png is damaged"):
        synthesise(bundle, tmp_path / "out", number=1, filters=Filters(datalist=str(data)))
    torch.save(SemanticGAN(**TINY_NETWORK).state_dict(), weights)
    with pytest.raises(ValueError, match="the prior knows no codes of images"):
        synthesise(bundle, tmp_path / "out", number=1)


def test_a_drawing_that_the_bundle_would_not_read_is_dropped(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, decode = make(), SemanticGAN.decode
    calls: list[int] = []

    def sometimes_flat(self: SemanticGAN, wplus: torch.Tensor, noise: Any = None) -> Any:
        calls.append(0)
        image, logits = decode(self, wplus, noise)
        return (torch.zeros_like(image) if len(calls) == 1 else image), logits

    monkeypatch.setattr(SemanticGAN, "decode", sometimes_flat)
    told = synthesise(bundle, tmp_path / "out", number=1, filters=Filters(pieces=0))
    assert "unreadable: 1 failed" in told
    assert rows(tmp_path / "out")[0]["message"].startswith("unreadable image")
