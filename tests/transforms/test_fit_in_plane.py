# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Activationsd, Compose, Invertd, Orientationd
from scipy.ndimage import center_of_mass

from monai_semgan.formats import Outside
from monai_semgan.transforms.fit_in_plane import FitInPlane, FitInPlaned, InvertDecidedd
from monai_semgan.transforms.modality import ByModalityd, EmptyOutsided, ThresholdByModalityd
from monai_semgan.transforms.scores import AXIAL, LABELS, axial
from tests.volume_files import affines, ellipsoid

SIZE = 32


def there_and_back(volume: np.ndarray, affine: np.ndarray, **settings: object) -> tuple[MetaTensor, MetaTensor]:
    """The volume on the network's grid, and back on its own."""
    chain = Compose([Orientationd("image", AXIAL, labels=LABELS), FitInPlaned("image", SIZE, **settings)])
    item = chain({"image": MetaTensor(torch.tensor(volume)[None].float(), affine=affine)})
    invert = Invertd("pred", chain, "image", nearest_interp=settings.get("mode") == "nearest")
    return item["image"], invert({**item, "pred": MetaTensor(item["image"])})["pred"]


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@given(affines(), st.tuples(*[st.integers(10, SIZE)] * 3), st.floats(0.4, 0.9), st.booleans())
def test_label_comes_back(affine: np.ndarray, shape: tuple[int, int, int], radius: float, enlarge: bool) -> None:
    label = ellipsoid(shape, radius=radius)
    on_square, back = there_and_back(label, affine, enlarge=enlarge)
    assert on_square.shape[1:3] == (SIZE, SIZE)
    assert back.shape[1:] == shape
    np.testing.assert_allclose(back.affine, affine, atol=1e-9)
    # patients are no strips: at 5 to 1 and more the shorter side of the field shrinks to a few pixels
    shown = axial(MetaTensor(torch.tensor(label)[None], affine=affine))
    extent = np.linalg.norm(shown.affine[:3, :2], axis=0) * shown.shape[1:3]
    assume(extent.max() <= 3 * extent.min())
    assert dice(back[0].numpy() > 0.5, label) >= 0.97


@given(affines(), st.tuples(*[st.integers(2, SIZE)] * 3))
def test_nearest_neighbour_is_exact_where_nothing_shrinks(affine: np.ndarray, shape: tuple[int, int, int]) -> None:
    classes = np.random.default_rng(0).integers(0, 5, shape)
    on_square, back = there_and_back(classes, affine, mode="nearest")
    operation = on_square.applied_operations[-1]
    assume(all(np.greater_equal(operation["extra_info"]["fitted"], operation["orig_size"][:2])))
    np.testing.assert_array_equal(back[0].numpy(), classes)


@given(affines(), st.tuples(*[st.integers(2, SIZE)] * 3), st.integers(2, 20), st.sampled_from([SIZE // 2, SIZE]))
def test_class_indices_stay_what_they_are(
    affine: np.ndarray, shape: tuple[int, int, int], classes: int, longest: int
) -> None:
    label = np.random.default_rng(0).integers(0, classes + 1, shape)
    on_square, back = there_and_back(label, affine, mode="label", value=0)
    assert set(np.unique(on_square)) <= set(np.unique(label)) | {0}
    assert set(np.unique(back)) <= set(np.unique(label)) | {0}
    # square pixels and a longer side of the network's: nothing is resized
    square = np.random.default_rng(0).integers(0, classes + 1, (longest, SIZE, 3))
    fit = FitInPlane(SIZE, mode="label", value=0)
    there = fit(MetaTensor(torch.tensor(square)[None].float(), affine=np.eye(4)))
    np.testing.assert_array_equal(fit.inverse(there)[0].numpy(), square)


def test_probabilities_of_classes_are_decided_as_they_get_their_size() -> None:
    chain = Compose([FitInPlaned("image", SIZE)])
    item = chain({"image": MetaTensor(torch.randn(1, 40, 24, 3), affine=np.eye(4))})
    item["pred"] = MetaTensor(torch.randn(4, SIZE, SIZE, 3).softmax(0))
    at_once = InvertDecidedd("pred", chain, "image", 0.9, "ct")(dict(item))["pred"]
    inverted = Invertd("pred", chain, "image", nearest_interp=False)(dict(item))["pred"]
    assert at_once.dtype == torch.uint8 and torch.equal(at_once[0], inverted.argmax(0).byte())
    decide = ThresholdByModalityd("pred", 0.9, "ct")
    assert torch.equal(decide({"pred": at_once})["pred"], at_once)
    assert torch.equal(decide({"pred": inverted})["pred"], at_once)


@given(
    affine=affines(),
    shape=st.tuples(*[st.integers(1, SIZE)] * 3),
    spacing=st.floats(0.5, 3.0),
    thickness=st.floats(0.5, 8.0),
)
def test_square_pixels_that_fit_keep_their_values(
    affine: np.ndarray, shape: tuple[int, int, int], spacing: float, thickness: float
) -> None:
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    axial = np.abs(directions[2]).argmax()
    affine[:3, :3] = directions * np.where(np.arange(3) == axial, thickness, spacing)
    on_square, back = there_and_back(noise, affine, enlarge=False)
    np.testing.assert_array_equal(back[0].numpy(), noise)
    np.testing.assert_array_equal(np.unique(on_square.numpy()), np.unique(noise))
    # a longer side of the network's size needs no setting
    longest = np.pad(noise, [(0, 0 if axis == axial else SIZE - shape[axis]) for axis in range(3)])
    np.testing.assert_array_equal(there_and_back(longest, affine)[1][0].numpy(), longest)


@given(affines(), st.tuples(*[st.integers(12, 40)] * 3))
def test_affine_follows(affine: np.ndarray, shape: tuple[int, int, int]) -> None:
    shown = axial(MetaTensor(torch.tensor(ellipsoid(shape, radius=0.6))[None].float(), affine=affine))
    out = FitInPlane(SIZE)(shown)
    # the mask's centre of mass stays where it was in the patient
    centres = [volume.affine.numpy() @ [*center_of_mass(volume[0].numpy()), 1] for volume in (shown, out)]
    pixel = np.linalg.norm(out.affine.numpy()[:3, :3], axis=0).max()
    np.testing.assert_allclose(centres[0], centres[1], atol=0.1 * pixel)


def test_proportions_are_kept() -> None:
    # 20 x 40 mm
    volume = MetaTensor(torch.ones(1, 10, 40, 2), affine=np.diag([2.0, 1.0, 5.0, 1.0]))
    out = FitInPlane(20, value=-1)(volume)
    filled = out[0, :, :, 0].numpy() == 1
    assert out.shape == (1, 20, 20, 2) and filled.sum() == 10 * 20
    assert filled[5:15].all()
    np.testing.assert_allclose(np.linalg.norm(out.affine[:3, :3], axis=0), [2, 2, 5])


def test_a_share_of_the_square_is_filled_and_comes_back() -> None:
    volume = MetaTensor(torch.rand(1, 20, 40, 2) + 1, affine=np.eye(4))
    fit = FitInPlane(50, value=0, fill=0.8)
    out = fit(volume)
    assert (out[0, 15:35, 5:45] > 0).all() and (out > 0).sum() == 20 * 40 * 2
    torch.testing.assert_close(fit.inverse(out).as_tensor(), volume.as_tensor())


def test_padding_is_the_minimum_by_default() -> None:
    volume = torch.tensor([[3.0, 5.0], [7.0, 9.0]])[None, :1, :, None]
    assert FitInPlane(2)(volume)[0, 1, :, 0].tolist() == [3, 3]


def test_shrinking_is_antialiased() -> None:
    stripes = (torch.arange(64) % 2).float().expand(64, 64)[None, ..., None]
    out = FitInPlane(16)(stripes)
    np.testing.assert_allclose(out[0, :, 2:-2], 0.5, atol=0.05)


def test_inverse_with_the_nearest_neighbour_keeps_classes() -> None:
    classes = torch.randint(0, 5, (1, 9, 13, 2)).float()
    chain = Compose([FitInPlaned("image", SIZE)])
    item = chain({"image": MetaTensor(classes)})
    item["pred"] = MetaTensor(torch.randint(0, 5, (1, SIZE, SIZE, 2)).float())
    assert set(Invertd("pred", chain, "image")(item)["pred"].unique().tolist()) <= set(range(5))


def test_settings_for_each_key() -> None:
    fit = FitInPlaned(["image", "label"], 8, mode=["bilinear", "nearest"], value=[None, 0])
    item = fit({"image": torch.full((1, 2, 4, 1), 7.0), "label": torch.ones(1, 2, 4, 1, dtype=torch.uint8)})
    assert item["image"].unique().tolist() == [7]
    assert item["label"][0, :2].unique().tolist() == [0]
    assert fit.inverse(item)["label"].unique().tolist() == [1]


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 4, 4\) is no volume"):
        FitInPlane(8)(torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="size is 0"):
        FitInPlane(0)
    with pytest.raises(ValueError, match="fill is 0"):
        FitInPlane(8, fill=0)
    with pytest.raises(ValueError, match="fill is 2"):
        FitInPlaned("image", 50, fill=2.0)
    with pytest.raises(ValueError, match="mode is 'cubic'"):
        FitInPlane(8, mode="cubic")


@given(affines(), st.tuples(*[st.integers(2, SIZE)] * 3), st.booleans(), st.sampled_from(["ct", "mri"]))
def test_masks_that_are_decided_slice_by_slice_are_the_same(
    affine: np.ndarray, shape: tuple[int, int, int], enlarge: bool, modality: str
) -> None:
    thresholds = {"ct": 0.7, "mri": 0.5}
    outside = np.random.default_rng(1).random(shape) < 0.1
    fits = {"ct": FitInPlaned("image", SIZE, enlarge=enlarge), "mri": FitInPlaned("image", SIZE, fill=0.8)}
    chain = Compose([EmptyOutsided("image"), Orientationd("image", AXIAL, labels=LABELS), ByModalityd(fits, modality)])
    item = chain({"image": MetaTensor(torch.zeros(1, *shape), affine=affine, meta={"outside": Outside(outside)})})
    logits = torch.randn(item["image"].shape, generator=torch.Generator().manual_seed(0))
    item["pred"] = MetaTensor(logits)
    activate = Activationsd("pred", sigmoid=True)
    decide = ThresholdByModalityd("pred", thresholds, modality)
    at_once = InvertDecidedd("pred", chain, "image", thresholds, modality)(activate(item))
    assert at_once["pred"].dtype == torch.uint8
    invert = Compose([activate, Invertd("pred", chain, "image", nearest_interp=False)])
    # the volume's own traces are as they were
    probabilities = invert({"image": at_once["image"], "pred": MetaTensor(logits)})
    assert probabilities["pred"].is_floating_point()
    expected = decide(probabilities)["pred"]
    assert torch.equal(decide(at_once)["pred"].as_tensor(), expected.as_tensor())
    assert not expected[0].numpy()[outside].any()
