# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.inferers import SimpleInferer
from monai.networks.nets import UNet
from monai.transforms import Activationsd, AsDiscreted, Compose, Invertd, Lambdad, LoadImaged, Resized, SqueezeDimd
from monai.utils import CommonKeys as Keys
from PIL import Image
from torch import nn

from monai_semgan import Predictor, segment
from monai_semgan.data import FAILURE
from monai_semgan.formats import FormatReader
from monai_semgan.inferers import SliceWiseInferer, WPlusInferer
from monai_semgan.networks.nets import SemanticGAN
from monai_semgan.predictor import Prediction, read_device
from monai_semgan.transforms import DisplayOrderd
from tests.image_files import gradient, oblique_affine, write_nifti, write_png
from tests.tiny_bundle import tiny_bundle, with_weights

TINY_GAN = {"size": 16, "latent_dim": 8, "channel_base": 64, "channel_max": 8}


class Threshold(nn.Module):
    """Logits are the image; an image with a value above 5 cannot be processed, one above 2 gives NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(image))
        if (image > 5).any():
            raise RuntimeError("out of memory")
        return torch.where(image > 2, torch.nan, image)


def predictor(network: nn.Module, inferer: Any = None, postprocessing: Any = None, **settings: Any) -> Predictor:
    """A predictor of prepared items."""
    return Predictor(
        network=network,
        inferer=inferer or SimpleInferer(),
        read=None,
        preparation=Compose([]),
        postprocessing=postprocessing or AsDiscreted("pred", threshold=0.5),
        device="cpu",
        **settings,
    )


def image(value: float) -> torch.Tensor:
    return torch.full((1, 4, 4), value)


def test_reconstruction_codes_and_error() -> None:
    network = SemanticGAN(**TINY_GAN)
    images = torch.rand(3, 1, 16, 16) * 2 - 1
    inferer = WPlusInferer(steps=1)
    predictions = predictor(network, inferer).predict([{"image": image} for image in images])
    expected = inferer(images, network, return_details=True)
    for index, found in enumerate(predictions):
        torch.testing.assert_close(found.logits.as_tensor(), expected.logits[index])
        torch.testing.assert_close(found.reconstruction, expected.reconstruction[index])
        torch.testing.assert_close(found.codes, expected.wplus[index])
        rms = nn.functional.mse_loss(expected.reconstruction[index], images[index]) ** 0.5
        assert found.reconstruction_error == pytest.approx(rms.item(), rel=1e-5)
        assert found.slice_errors is None and found.label is None and found.scores == {}


def test_volumes_slice_by_slice() -> None:
    network = SemanticGAN(**TINY_GAN)
    volume = torch.rand(1, 16, 16, 3) * 2 - 1
    for inner, redrawn in ((WPlusInferer(steps=0, amp=False), True), (SimpleInferer(), False)):
        (found,) = predictor(network, SliceWiseInferer(inner)).predict([{"image": volume}])
        expected = network(volume.movedim(-1, 0)).movedim(0, -1).detach()
        torch.testing.assert_close(found.logits.as_tensor(), expected, rtol=1e-5, atol=1e-5)
        assert (found.reconstruction is not None) == redrawn
        assert (len(found.slice_errors) == 3) if redrawn else found.slice_errors is None


def test_failures_are_recorded_and_the_others_go_on() -> None:
    network = Threshold()
    items = [{"image": image(v), "name": str(v)} for v in (1.0, 9.0, 3.0)] + [
        {"name": "unread", FAILURE: "no such file"}
    ]
    predictions = predictor(network).predict(items)
    assert [found.item["name"] for found in predictions] == ["1.0", "9.0", "3.0", "unread"]
    assert torch.equal(predictions[0].mask.as_tensor(), image(1.0)) and predictions[0].reconstruction is None
    assert [found.failure for found in predictions] == [
        None,
        "RuntimeError: out of memory",
        "the network's result is NaN or infinite: are these its trained weights?",
        "no such file",
    ]
    # the batch, then one by one
    assert network.batches == [3, 1, 1, 1]


def test_warnings_name_file_and_patient_and_come_once() -> None:
    meta = {"warnings": ["padded", "tilted", "padded"], "filename_or_obj": "/data/p1/a.dcm", "patient": "7"}
    items = [
        {"image": MetaTensor(image(1.0), meta=meta)},
        {"image": MetaTensor(image(1.0), meta=meta), "patient": "p1"},
    ]
    found = predictor(Threshold()).predict([*items, {"image": image(1.0)}])
    assert found[0].warnings == ("a.dcm, patient 7: padded", "tilted")
    # the datalist's own word
    assert found[1].warnings[0] == "a.dcm, patient p1: padded" and found[2].warnings == ()


def test_failure_of_postprocessing() -> None:
    def refuse(pred: torch.Tensor) -> torch.Tensor:
        if pred.max() > 1:
            raise OSError("disk full")
        return pred

    found = predictor(Threshold(), postprocessing=Lambdad("pred", refuse)).predict(
        [{"image": image(1.0)}, {"image": image(1.5)}]
    )
    # MONAI's "applying transform" is taken off
    assert [one.failure for one in found] == [None, "OSError: disk full"]


def test_all_items_may_fail() -> None:
    found = predictor(Threshold()).predict([{FAILURE: "a"}, {FAILURE: "b"}])
    assert [one.failure for one in found] == ["a", "b"] and all(one.mask is None for one in found)


def test_labels_and_scores_of_an_evaluation_are_kept() -> None:
    score = Compose([AsDiscreted("pred", threshold=0.5), lambda item: {**item, "scores": {"dice": 0.5}}])
    (found,) = predictor(Threshold(), postprocessing=score).predict([{"image": image(1.0), "label": image(0.0)}])
    assert found.scores == {"dice": 0.5} and torch.equal(found.label, image(0.0))


def passing_on(size: int = 32) -> Predictor:
    """A network that passes its input on: the mask is where the image is above its middle."""
    read = LoadImaged("image", reader=FormatReader(2), ensure_channel_first=True)
    resize = Resized("image", [size, size], mode="bilinear")
    scale = Lambdad("image", lambda x: (x - x.min()) / (x.max() - x.min()) * 2 - 1)
    preparation = Compose([DisplayOrderd("image"), resize, scale])
    whole = Compose([read, preparation])
    probabilities = Compose([Activationsd("pred", sigmoid=True), Invertd("pred", whole, "image", nearest_interp=False)])
    return Predictor(
        network=nn.Identity(),
        inferer=SimpleInferer(),
        read=read,
        preparation=preparation,
        postprocessing=Compose([probabilities, AsDiscreted("pred", threshold=0.5), SqueezeDimd("pred", dim=0)]),
        probabilities=probabilities,
        classes=["bright"],
        device="cpu",
        batch_size=2,
    )


def bright() -> np.ndarray:
    shown = np.zeros((60, 40), np.uint8)
    shown[10:30, 5:15] = 200
    return shown


def overlap(mask: Any, expected: np.ndarray) -> float:
    found = np.asarray(mask) > 0
    assert found.shape == expected.shape
    return 2 * (found & (expected > 0)).sum() / (found.sum() + (expected > 0).sum())


def test_each_kind_of_input_gets_its_mask_on_its_own_grid(tmp_path: Path) -> None:
    shown = bright()
    path = write_png(tmp_path / "a.png", shown)
    turned = write_nifti(tmp_path / "turned.nii.gz", shown.T[:, ::-1].astype(np.int16), np.diag([-0.3, 0.6, 1, 1]))
    oblique = write_nifti(tmp_path / "oblique.nii.gz", shown.T[..., None].astype(np.float32), oblique_affine())
    rgb = np.repeat(shown[..., None], 3, axis=2)[..., :1].repeat(1, axis=2)
    inputs = {
        "array": (shown, shown),
        "floats": (shown / 200.0, shown),
        "array with a channel": (rgb, shown),
        "tensor": (torch.as_tensor(shown)[None], shown),
        "tensor without channel": (torch.as_tensor(shown), shown),
        "PIL": (Image.fromarray(shown), shown),
        "SimpleITK": (sitk.GetImageFromArray(shown), shown.T),
        "nibabel": (nib.Nifti1Image(shown.T.astype(np.float32), np.eye(4)), shown.T),
        "MetaTensor": (MetaTensor(torch.as_tensor(shown.T.copy())[None].float(), affine=torch.eye(4)), shown.T),
        "path": (path, shown.T),
        "text": (str(path), shown.T),
        "NIfTI, rows from the bottom": (turned, shown.T[:, ::-1]),
        "oblique NIfTI": (oblique, shown.T),
    }
    segmenter = passing_on()
    for name, (given_input, expected) in inputs.items():
        found = segmenter(given_input)
        assert overlap(found.mask, expected) > 0.9, name
        assert found.classes == ("bright",) and found.seconds > 0
        probabilities = np.asarray(found.probabilities)
        assert probabilities.shape == (1, *expected.shape) and 0 <= probabilities.min() <= probabilities.max() <= 1
        assert np.array_equal(probabilities[0] >= 0.5, np.asarray(found.mask) > 0), name


def test_a_list_is_segmented_in_batches_and_tells_what_failed(tmp_path: Path) -> None:
    segmenter = passing_on()
    found = segmenter([bright(), tmp_path / "none.png", np.zeros((8, 8)), bright() * 0.5, "junk"])
    assert [one.failure is None for one in found] == [True, False, False, True, False]
    assert "none.png is missing" in found[1].failure and "constant" in found[2].failure
    assert overlap(found[3].mask, bright()) > 0.9
    with pytest.raises(ValueError, match="no mask to save: .*none.png"):
        found[1].save(tmp_path / "x")
    with pytest.raises(ValueError, match="none.png is missing"):
        segmenter(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.zeros((2, 2, 2, 2)), "2 spatial dimensions are expected"),
        (object(), "image is a object: give a path"),
        (np.full((9, 9), np.nan), "NaN"),
        (np.arange(81.0).reshape(9, 9)[..., None].repeat(5, 2), "5 channels"),
    ],
)
def test_what_is_no_image_is_refused(wrong: Any, words: str) -> None:
    segmenter = passing_on()
    segmenter.preparation = Compose([segmenter.preparation.transforms[0], lambda item: check_channels(item)])
    with pytest.raises(ValueError, match=words):
        segmenter(wrong)


def check_channels(item: dict[str, Any]) -> dict[str, Any]:
    if len(item["image"]) != 1:
        raise ValueError(f"{len(item['image'])} channels")
    return item


@given(rows=st.integers(4, 40), columns=st.integers(4, 40))
def test_masks_have_the_shape_of_the_array(rows: int, columns: int) -> None:
    found = passing_on()(gradient(rows, columns))
    assert found.mask.shape == (rows, columns)


def test_saved_masks(tmp_path: Path) -> None:
    segmenter = passing_on()
    path = write_png(tmp_path / "a.png", bright())
    for name, given_input in (("path", path), ("array", bright())):
        file = segmenter(given_input).save(tmp_path / name)
        assert file == tmp_path / f"{name}.png"
        assert overlap(np.asarray(Image.open(file)), bright()) > 0.9
    affine = np.diag([-0.3, 0.6, 1, 1])
    turned = write_nifti(tmp_path / "turned.nii.gz", bright().T[:, ::-1].astype(np.int16), affine)
    file = segmenter(turned).save(tmp_path / "b.1")
    assert file.name == "b.1.nii.gz"
    np.testing.assert_allclose(nib.load(file).affine, affine, atol=1e-6)


def test_probabilities_need_a_mask() -> None:
    with pytest.raises(ValueError, match="no probabilities: broken"):
        _ = Prediction({}, failure="broken").probabilities


def test_a_device_that_there_is_not() -> None:
    assert read_device("cpu") == torch.device("cpu")
    for name in ("cudax", "cuda:99"):
        with pytest.raises(ValueError, match=f"device is '{name}', .*: say auto, cpu or cuda"):
            read_device(name)


@pytest.fixture
def bundle(tmp_path: Path, repository: Path) -> Path:
    """A bundle with a tiny network and random weights."""
    return with_weights(tiny_bundle(tmp_path, repository))


def test_from_a_bundle_in_one_line(bundle: Path) -> None:
    found = segment(gradient(50, 40), bundle, "fast", device="cpu")
    assert found.mask.shape == (50, 40) and found.classes == ("lung",) and found.codes.shape == (8, 8)
    again = Predictor.from_bundle(bundle, "fast")(gradient(50, 40))
    assert np.array_equal(np.asarray(again.mask), np.asarray(found.mask))


def test_mistakes_are_named(bundle: Path) -> None:
    with pytest.raises(ValueError, match="preset is 'bset'"):
        Predictor.from_bundle(bundle, "bset")
    with pytest.raises(ValueError, match="setting stpes is in none of inference.yaml"):
        Predictor.from_bundle(bundle, stpes=3)
    with pytest.raises(FileNotFoundError, match="bundle nothing is no folder .* lung_xray_segmentation"):
        Predictor.from_bundle("nothing")
    (bundle / "models" / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match="weights .*model.pt do not exist"):
        Predictor.from_bundle(bundle)


def test_images_unlike_those_of_the_training_are_suspicious() -> None:
    student = UNet(2, 1, 1, channels=(4, 8), strides=(2,)).eval()
    network = SemanticGAN(**TINY_GAN, student=student)
    segment = predictor(network, lambda images, net: net.student(images))
    usual = torch.rand(200, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    items = [{Keys.IMAGE: MetaTensor(values)} for values in (usual[0], torch.linspace(0, 1, 16).expand(1, 16, 16))]
    assert [found.check for found in segment.predict(items)] == ["", ""]
    assert network.domain is not None
    features = network.domain.features(student, usual, 2)
    network.domain.fit(features[:150], features[150:].split(1))
    like, unlike = segment.predict(items)
    assert (like.check, like.warnings) == ("ok", ())
    assert unlike.check == "suspicious" and "unlike the images that this network was trained on" in unlike.warnings[0]
    assert unlike.failure is None
