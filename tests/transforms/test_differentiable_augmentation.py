# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import affine_transform, gaussian_filter
from torch import Tensor

from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation, piecewise_linear

GEOMETRY = {"scale": 0.3, "stretch": 0.2, "shift": 0.2, "rotate": 20}
RANGES = GEOMETRY | {
    "curve": 0.8,
    "colour": 0.4,
    "brightness": 0.4,
    "contrast": 0.5,
    "shading": 0.2,
    "blur": 1.5,
    "noise": 0.1,
}


def image_and_label(batch: int = 4) -> tuple[Tensor, Tensor]:
    return torch.rand(batch, 1, 16, 16) * 2 - 1, (torch.rand(batch, 1, 16, 16) > 0.5) * 2.0 - 1


def test_probability_zero_changes_nothing() -> None:
    image, label = image_and_label()
    changed = DifferentiableAugmentation(p=0, **RANGES)(image, label)
    assert torch.equal(changed[0], image) and torch.equal(changed[1], label)


def test_without_ranges_nothing_changes() -> None:
    image, label = image_and_label()
    changed = DifferentiableAugmentation()(image, label)
    assert torch.equal(changed[0], image) and torch.equal(changed[1], label)
    assert DifferentiableAugmentation(**RANGES)(image)[1] is None


@given(
    st.fixed_dictionaries({"scale": st.floats(0, 1), "shift": st.floats(0, 0.5), "rotate": st.floats(0, 180)}),
    st.floats(0, 1),
    st.integers(0, 2**16),
)
def test_label_moves_with_its_image(geometry: dict[str, float], p: float, seed: int) -> None:
    torch.manual_seed(seed)
    image = torch.rand(3, 1, 16, 16) * 2 - 1
    moved, label = DifferentiableAugmentation(p=p, **geometry)(image, image)
    assert torch.equal(moved, label)
    # bilinear and black outside: no value leaves the range
    assert moved.min() >= -1 - 1e-5 and moved.max() <= 1 + 1e-5


def test_intensity_leaves_the_label_alone() -> None:
    image, label = image_and_label()
    intensity = {name: value for name, value in RANGES.items() if name not in GEOMETRY}
    changed = DifferentiableAugmentation(**intensity)(image, label)
    assert torch.equal(changed[1], label) and not torch.equal(changed[0], image)


@pytest.mark.parametrize("settings", [{name: value} for name, value in RANGES.items()])
def test_each_change_acts_on_each_image_alone(settings: dict[str, float]) -> None:
    image, _ = image_and_label(64)
    changed, _ = DifferentiableAugmentation(p=0.5, **settings)(image)
    touched = (changed - image).abs().flatten(1).amax(1) > 1e-4
    # a shift is drawn for each of two axes: at p = 0.5 a quarter stays
    expected = 0.75 if "shift" in settings else 0.5
    assert touched.float().mean().item() == pytest.approx(expected, abs=0.2)


def test_same_seed_same_result() -> None:
    image, label = image_and_label()
    augmentation = DifferentiableAugmentation(p=0.7, **RANGES)
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(augmentation(image, label))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    assert not torch.equal(results[0][0], results[2][0])


def test_gradients_reach_image_and_label() -> None:
    image, label = image_and_label()
    image.requires_grad_()
    label.requires_grad_()
    changed, moved = DifferentiableAugmentation(**RANGES)(image, label)
    (changed.square().sum() + moved.square().sum()).backward()
    for grad in (image.grad, label.grad):
        assert torch.isfinite(grad).all() and (grad.flatten(1).abs().sum(1) > 0).all()


def test_affine_map_has_the_right_gradient() -> None:
    image = torch.rand(2, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    augmentation = DifferentiableAugmentation(brightness=0.3, contrast=0.4)

    def changed(x: Tensor) -> Tensor:
        torch.manual_seed(1)
        return augmentation(x)[0]

    assert torch.autograd.gradcheck(changed, image)


def forced(augmentation: DifferentiableAugmentation, draws: list[float]) -> DifferentiableAugmentation:
    """Make the augmentation use the given draws instead of random ones, in the order in which it asks."""
    queue = iter(draws)
    augmentation.uniform = lambda batch, limit: torch.full((batch,), next(queue))  # type: ignore[method-assign]
    return augmentation


def test_shift_by_whole_pixels() -> None:
    """A quarter of 16 px is 4 px; what comes in is black, and background in the label."""
    image, label = image_and_label(1)
    moved, moved_label = forced(DifferentiableAugmentation(shift=0.25), [0.0, 0.0, 0.0, 0.5, -0.25])(image, label)
    for before, after in ((image, moved), (label, moved_label)):
        torch.testing.assert_close(after[..., 2:, :-4], before[..., :-2, 4:])
        torch.testing.assert_close(after[..., :2, :], torch.full((1, 1, 2, 16), -1.0))
        torch.testing.assert_close(after[..., -4:], torch.full((1, 1, 16, 4), -1.0))


def test_mirrored_classes_change_places() -> None:
    label = torch.full((8, 4, 6, 6), -1.0)
    # right (1) on the left, left (2) on the right, 3 in the middle, background around
    label[:, 1, 2:4, :2], label[:, 2, 2:4, 4:], label[:, 3, 2:4, 2:4], label[:, 0] = 1, 1, 1, 1
    label[:, 0, 2:4] = -1
    image = label[:, 1:2] + 0.5 * label[:, 2:3]
    torch.manual_seed(0)
    moved, kept = DifferentiableAugmentation(flip=[[1, 2]])(image, label)
    assert kept is not None
    mirrored = [not torch.allclose(a, b) for a, b in zip(moved, image)]
    assert 0 < sum(mirrored) < len(mirrored)
    # right stays on the left of the image, whichever of the two organs is there
    torch.testing.assert_close(kept, label)
    torch.testing.assert_close(moved[mirrored], image.flip(3)[mirrored])
    with pytest.raises(ValueError, match="flip exchanges classes 1 and 4, the label map has 1 to 3"):
        DifferentiableAugmentation(flip=[[1, 4]])(image, label)


def test_outside_is_background_among_several_classes() -> None:
    label = torch.full((2, 3, 16, 16), -1.0)
    label[:, 2] = 1.0
    image = torch.rand(2, 3, 16, 16)
    moved, moved_label = forced(DifferentiableAugmentation(shift=0.25), [0.0, 0.0, 0.0, 0.5, 0.0])(image, label)
    torch.testing.assert_close(moved[..., -4:], torch.full((2, 3, 16, 4), -1.0))
    assert (moved_label.argmax(1)[..., -4:] == 0).all() and (moved_label.argmax(1)[..., :-4] == 2).all()
    torch.testing.assert_close(moved_label[:, :, 8, 15], torch.tensor([[1.0, -1.0, -1.0]] * 2))


def test_zoom_stretch_and_rotation_against_scipy() -> None:
    zoom, angle, stretch = 1.25, math.radians(25), 1.2
    image, _ = image_and_label(1)
    draws = [math.log(zoom), angle, math.log(stretch) / 2, 0.0, 0.0]
    moved, _ = forced(DifferentiableAugmentation(scale=0.3, stretch=0.3, rotate=30), draws)(image)
    # output (row, column) reads input R (row, column) / (height, width) about the centre; width / height = stretch
    rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    height, width = zoom / math.sqrt(stretch), zoom * math.sqrt(stretch)
    matrix = np.diag([1 / height, 1 / width]) @ rotation
    centre = np.full(2, 7.5)
    expected = affine_transform(
        image[0, 0].numpy() + 1, matrix, centre - matrix @ centre, order=1, mode="grid-constant", cval=0.0
    )
    np.testing.assert_allclose(moved[0, 0].numpy(), expected - 1, atol=1e-4)


def test_quarter_turn_is_exact() -> None:
    image, _ = image_and_label(2)
    turned, _ = forced(DifferentiableAugmentation(rotate=90), [0.0, math.pi / 2, 0.0, 0.0, 0.0])(image)
    assert any((turned - torch.rot90(image, k, (2, 3))).abs().max() < 1e-4 for k in (1, 3))


def test_flip_mirrors_half_of_the_images_with_their_labels() -> None:
    image, label = image_and_label(200)
    moved, moved_label = DifferentiableAugmentation(flip=True)(image, label)
    mirrored = (moved - image.flip(3)).abs().flatten(1).amax(1) < 1e-5
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.12)
    for before, after in ((image, moved), (label, moved_label)):
        torch.testing.assert_close(after, torch.where(mirrored[:, None, None, None], before.flip(3), before))


def test_curve_is_linear_between_six_knots_and_keeps_black() -> None:
    ramp = torch.linspace(-1, 1, 101)
    image = ramp.expand(64, 1, 3, 101)
    changed = DifferentiableAugmentation(curve=1.0)(image)[0]
    at_knots = changed[:, 0, 0, ::20]
    for curve, values in zip(changed, at_knots):
        expected = torch.from_numpy(np.interp(ramp, ramp[::20], values)).float()
        torch.testing.assert_close(curve, expected.expand(1, 3, 101), rtol=0, atol=1e-5)
    torch.testing.assert_close(at_knots[:, 0], torch.full((64,), -1.0))
    assert changed.abs().max() <= 1 + 1e-5
    falls = (at_knots.diff(dim=1) < 0).any(1)
    assert 0.2 < falls.float().mean() < 1


def test_curves_are_those_of_numpy_and_go_on_straight() -> None:
    values = torch.tensor([[-1.2, -0.3, 0.0, 0.1, 0.9], [0.8, 0.2, 0.1, -0.7, -0.9]])
    images = torch.rand(2, 3, 4, 4) * 2 - 1
    knots = np.linspace(-1, 1, 5)
    for row, image, found in zip(values, images, piecewise_linear(values, images), strict=True):
        np.testing.assert_allclose(found, np.interp(image, knots, row), atol=1e-6)
    beyond = piecewise_linear(values, torch.tensor([-1.5, 1.5]).expand(2, 1, 1, 2)).flatten(1)
    torch.testing.assert_close(beyond, torch.tensor([[-2.1, 1.7], [1.4, -1.1]]))


def test_curves_give_gradients_to_images_and_values() -> None:
    values = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    # between knots: at them the slope jumps
    images = torch.tensor([-0.9, -0.4, 0.1, 0.6]).view(1, 1, 2, 2).repeat(2, 1, 1, 1).requires_grad_()
    along_values, along_images = torch.autograd.grad(piecewise_linear(values, images).sum(), (values, images))
    # a value counts by how near it is to each pixel, in distances of knots
    place = (images.detach()[0].flatten() + 1) * 1.5
    weights = (1 - (place[:, None] - torch.arange(4)).abs()).clamp(min=0).sum(0)
    torch.testing.assert_close(along_values, weights.double().expand(2, 4))
    slopes = values.detach().diff(dim=1)[:, place.long()] * 1.5
    torch.testing.assert_close(along_images.flatten(1), slopes.float())


def test_weak_curve_stays_near_the_identity() -> None:
    image, _ = image_and_label()
    changed = DifferentiableAugmentation(curve=0.1)(image)[0]
    assert 0 < (changed - image).abs().max() <= 0.2 + 1e-5


def test_colour_is_a_gain_of_each_channel() -> None:
    image = torch.rand(100, 3, 8, 8) * 2 - 1
    changed, _ = DifferentiableAugmentation(colour=0.5)(image)
    gain = (changed + 1) / (image + 1)
    assert gain.flatten(2).std(2).max() < 1e-3
    assert gain.min() > 1 / 1.5 - 1e-3 and 1.4 < gain.max() < 1.5 + 1e-3
    assert (gain.amax(1) - gain.amin(1)).flatten(1).amax(1).min() > 0


def test_blur_against_scipy() -> None:
    image = torch.rand(2, 3, 16, 16, dtype=torch.float64) * 2 - 1
    blurred, _ = forced(DifferentiableAugmentation(blur=2.0), [1.2])(image)
    # the kernel reaches to 5 pixels: 5 / 1.2 standard deviations
    expected = gaussian_filter(image.numpy(), sigma=(0, 0, 1.2, 1.2), mode="nearest", truncate=5 / 1.2)
    np.testing.assert_allclose(blurred.numpy(), expected, atol=1e-6)
    unchanged, _ = forced(DifferentiableAugmentation(blur=2.0), [0.0])(image)
    torch.testing.assert_close(unchanged, image)


def test_brightness_and_contrast_stay_in_their_ranges() -> None:
    image, _ = image_and_label(200)
    brighter, _ = DifferentiableAugmentation(brightness=0.3)(image)
    offset = (brighter - image).flatten(1)
    assert offset.std(1).max() < 1e-5 and 0.25 < offset.abs().max() <= 0.3 + 1e-5
    steeper, _ = DifferentiableAugmentation(contrast=0.5)(image)
    factor = steeper.flatten(1).std(1) / image.flatten(1).std(1)
    assert factor.min() >= 1 / 1.5 - 1e-4 and factor.max() <= 1.5 + 1e-4 and factor.max() > 1.4
    torch.testing.assert_close(steeper.mean((1, 2, 3)), image.mean((1, 2, 3)), atol=1e-5, rtol=0)


def test_noise_level_and_shading_amplitude() -> None:
    noisy, _ = DifferentiableAugmentation(noise=0.2)(torch.zeros(300, 1, 16, 16))
    level = noisy.flatten(1).std(1)
    # U(0, 0.2), give or take the spread of a standard deviation from 256 values
    assert level.max() < 0.2 * 1.2 and level.mean().item() == pytest.approx(0.1, abs=0.02)
    shaded, _ = DifferentiableAugmentation(shading=0.1)(torch.zeros(300, 3, 16, 16))
    assert torch.equal(shaded[:, 0], shaded[:, 2])
    assert shaded.std().item() == pytest.approx(0.1, abs=0.03)
    # smooth: neighbours differ by less than pixels far apart
    assert (shaded[..., 1:] - shaded[..., :-1]).std() < 0.5 * shaded.std()


def test_bf16_keeps_its_type() -> None:
    image, label = image_and_label()
    changed, moved = DifferentiableAugmentation(**RANGES)(image.bfloat16(), label)
    assert changed.dtype == moved.dtype == torch.bfloat16


def test_probability_belongs_to_the_state() -> None:
    augmentation = DifferentiableAugmentation(p=0.25)
    other = DifferentiableAugmentation()
    other.load_state_dict(augmentation.state_dict())
    assert other.p == 0.25


@pytest.mark.parametrize("settings", [{"p": -0.1}, {"p": 1.1}, {"scale": -1.0}, {"noise": -0.1}, {"rotate": -5}])
def test_ranges(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        DifferentiableAugmentation(**settings)


def test_a_change_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match="shft: no such change, there is scale, stretch, shift"):
        DifferentiableAugmentation(shft=0.1)
