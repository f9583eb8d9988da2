# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Resized
from PIL import Image

from monai_semgan.transforms import CameraShift, CameraShiftd
from tests.image_files import colours

OFF: dict[str, Any] = {
    "cast": (1, 1),
    "brightness": (1, 1),
    "gamma": (1, 1),
    "vignette": (0, 0),
    "blur": (0, 0),
    "quality": None,
}


def photograph(name: str = "folder/a.png", rows: int = 40, columns: int = 30) -> MetaTensor:
    image = torch.from_numpy(colours(rows, columns)).permute(2, 0, 1).float()
    return MetaTensor(image, meta={"filename_or_obj": name})


def shifted(image: MetaTensor, **settings: Any) -> tuple[np.ndarray, Any]:
    """The result of some parts alone, and what was drawn."""
    shift = CameraShift(**{**OFF, **settings})
    return shift(image).numpy(), shift.camera("a.png")


def test_all_parts_off_change_nothing() -> None:
    np.testing.assert_allclose(shifted(photograph())[0], photograph().numpy(), atol=1e-4)


def test_cast_and_brightness_are_gains_that_saturate() -> None:
    image = photograph()
    result, camera = shifted(image, cast=(0.75, 1.25))
    assert len(set(camera.cast)) == 3
    expected = [np.minimum(channel * gain, 255) for channel, gain in zip(image.numpy(), camera.cast)]
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    result, camera = shifted(image, brightness=(1.3, 1.3))
    np.testing.assert_allclose(result, np.minimum(1.3 * image.numpy(), 255), rtol=1e-5)
    assert (result == 255).any()


def test_gamma_keeps_black_and_white() -> None:
    image = photograph()
    image[:, 0, 0], image[:, 0, 1] = 0, 255
    result, camera = shifted(image, gamma=(0.8, 1.25))
    np.testing.assert_allclose(result, np.exp(camera.gamma * np.log(image.numpy() / 255 + 1e-30)) * 255, atol=1e-3)
    np.testing.assert_allclose(result[:, 0, :2], [[0, 255]] * 3)


def test_vignette_darkens_with_the_square_of_the_distance() -> None:
    white = photograph(rows=9, columns=17)
    white[:] = 200
    result, camera = shifted(white, vignette=(0.6, 0.6))
    corners, middle = result[:, [0, 0, -1, -1], [0, -1, 0, -1]], result[:, 4, 8]
    np.testing.assert_allclose(corners, 200 * 0.4, rtol=1e-5)
    np.testing.assert_allclose(middle, 200)
    # half-way to each side, a quarter of the corner's squared distance
    np.testing.assert_allclose(result[:, 2, 4], 200 * (1 - 0.6 / 4), rtol=1e-5)
    # pixels are square: the longer side's middle is farther off than the shorter side's
    np.testing.assert_allclose(result[0, 4, 0], 200 * (1 - 0.6 * 17**2 / (17**2 + 9**2)), rtol=1e-5)


def test_blur_is_gaussian_and_its_border_is_no_darker() -> None:
    image = photograph(rows=100, columns=120)
    image[:] = 10
    image[:, :, 60:] = 250
    result, camera = shifted(image, blur=(0.03, 0.03))
    # sigma is 3 px: the edge between columns 59 and 60 turns into the normal distribution
    expected = [10 + 240 * 0.5 * (1 + math.erf((x - 59.5) / (3 * math.sqrt(2)))) for x in range(120)]
    np.testing.assert_allclose(result, np.broadcast_to(expected, result.shape), atol=1)


def test_jpeg_is_the_one_of_its_quality() -> None:
    image = photograph(rows=64, columns=48)
    result, camera = shifted(image, quality=(15, 60))
    assert 15 <= camera.quality <= 60
    buffer = BytesIO()
    Image.fromarray(colours(64, 48)).save(buffer, format="JPEG", quality=camera.quality)
    np.testing.assert_array_equal(result, np.asarray(Image.open(buffer)).transpose(2, 0, 1))
    coarse, _ = shifted(image, quality=(15, 15))
    fine, _ = shifted(image, quality=(95, 95))
    assert np.abs(fine - image.numpy()).mean() < np.abs(coarse - image.numpy()).mean()


def test_parts_work_in_their_order() -> None:
    image, defaults = photograph(rows=64, columns=48), CameraShift()
    expected = image
    # gains of channels and of all saturate together
    for names in (("cast", "brightness"), ("gamma",), ("vignette",), ("blur",), ("quality",)):
        expected = CameraShift(**{**OFF, **{name: getattr(defaults, name) for name in names}})(expected)
    np.testing.assert_allclose(defaults(image).numpy(), expected.numpy(), atol=1)


def test_shift_depends_on_seed_and_file_name_alone() -> None:
    names = [f"{number}.png" for number in range(6)]
    first = {name: CameraShift()(photograph(f"here/{name}")) for name in names}
    shift = CameraShift()
    for name in reversed(names):
        assert torch.equal(shift(photograph(f"elsewhere/{name}")), first[name])
    assert len({tuple(image.flatten().tolist()) for image in first.values()}) == len(names)
    assert not torch.equal(CameraShift(seed=1)(photograph("0.png")), first["0.png"])


def test_draws_are_the_same_on_every_machine() -> None:
    camera = CameraShift().camera("ISIC_0000000.png")
    assert camera.quality == 49
    np.testing.assert_allclose([*camera.cast, camera.brightness], [0.944985, 0.991211, 0.842561, 0.727960], atol=1e-6)


def test_draws_fill_their_ranges() -> None:
    cameras = [CameraShift().camera(str(number)) for number in range(300)]
    for values, low, high in (
        ([gain for camera in cameras for gain in camera.cast], 0.75, 1.25),
        ([camera.brightness for camera in cameras], 0.6, 1.3),
        ([camera.gamma for camera in cameras], 0.8, 1.25),
        ([camera.vignette for camera in cameras], 0.0, 0.6),
        ([camera.blur for camera in cameras], 0.0, 0.01),
        ([camera.quality for camera in cameras], 15, 60),
    ):
        assert low <= min(values) < low + 0.1 * (high - low) and high - 0.1 * (high - low) < max(values) <= high


def test_turning_one_part_off_leaves_the_draws_of_the_others() -> None:
    whole, without = CameraShift().camera("a.png"), CameraShift(gamma=(1, 1), quality=None).camera("a.png")
    assert without == whole._replace(gamma=1, quality=None)


def test_range_type_and_metadata() -> None:
    image = photograph()
    image[:, :20] = 255
    image[:, 20:] = 0
    for number in range(20):
        image.meta["filename_or_obj"] = f"{number}.png"
        result = CameraShift()(image)
        assert isinstance(result, MetaTensor) and result.dtype == torch.float32
        assert 0 <= result.min() and result.max() <= 255
        assert result.meta["filename_or_obj"] == f"{number}.png"


def test_other_transforms_of_the_chain_are_inverted() -> None:
    chain = Compose([Resized("image", spatial_size=(16, 16)), CameraShiftd("image", seed=3, blur=(0, 0))])
    item = chain({"image": photograph()})
    item["pred"] = item["image"][:1] > 100
    inverted = Invertd("pred", transform=chain, orig_keys="image", nearest_interp=True)(item)
    assert inverted["pred"].shape == (1, 40, 30)


@pytest.mark.parametrize(
    "image, message",
    [
        (photograph()[:1], r"image has shape \(1, 40, 30\), \(3, H, W\) expected"),
        (photograph() / 255, "image spans .* to 0.980392, 8-bit values of 0 to 255 expected"),
        (photograph() * 257, "8-bit values of 0 to 255 expected"),
        (photograph() - 100, "8-bit values of 0 to 255 expected"),
        (photograph() * float("nan"), "image spans nan to nan"),
        (photograph("").as_tensor(), "image has no file name"),
    ],
)
def test_images_that_cannot_be_changed(image: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CameraShift()(image)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"cast": (1.2, 0.8)}, r"cast is \(1.2, 0.8\), no range within 0 to inf"),
        ({"vignette": (0, 1.5)}, "vignette"),
        ({"blur": (-0.1, 0)}, "blur"),
        ({"quality": (10, 101)}, "quality is .* no range within 0 to 100"),
    ],
)
def test_bad_ranges(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CameraShift(**settings)
