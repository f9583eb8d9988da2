# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    HistogramNormalized,
    Invertd,
    Resized,
    ScaleIntensityRangePercentilesd,
)
from PIL import Image, ImageDraw

from monai_semgan.formats import Outside
from monai_semgan.transforms import (
    ContentFramed,
    DisplayOrder,
    DisplayOrderd,
    EqualiseInsided,
    SameFramed,
    ScaleInsided,
    ToGrey,
    ToGreyd,
    ToRGB,
    ToRGBd,
)
from monai_semgan.transforms.display import content_box, display_order
from tests.image_files import gradient, oblique_affine


def affine_of(first: tuple[int, int, int], second: tuple[int, int, int]) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = first, second, np.cross(first, second)
    return affine


# what the first and the second stored index run along: RAS, so -x is the patient's left
LEFT, RIGHT, FEET, HEAD, BACK, FRONT = (-1, 0, 0), (1, 0, 0), (0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0)


@pytest.mark.parametrize(
    "first, second, stored",
    [
        (RIGHT, FRONT, lambda shown: shown.T),  # a picture
        (LEFT, BACK, lambda shown: shown.T),  # ITK's NIfTI of a picture
        (LEFT, FRONT, lambda shown: shown.T[:, ::-1]),  # dcm2niix: rows from the bottom
        (LEFT, FEET, lambda shown: shown.T),
        (LEFT, HEAD, lambda shown: shown.T[:, ::-1]),
        (RIGHT, HEAD, lambda shown: shown.T[::-1, ::-1]),
        (FEET, LEFT, lambda shown: shown),
        (HEAD, RIGHT, lambda shown: shown[::-1, ::-1]),
        (HEAD, LEFT, lambda shown: shown[::-1]),
        (BACK, FEET, lambda shown: shown.T),  # lateral
        (FRONT, HEAD, lambda shown: shown.T[::-1, ::-1]),
    ],
)
def test_image_comes_out_as_shown(first, second, stored) -> None:
    shown = gradient(6, 5)
    image = MetaTensor(torch.tensor(stored(shown).copy())[None], affine=affine_of(first, second))
    out = DisplayOrder()(image)
    np.testing.assert_array_equal(out[0].numpy(), shown)


def test_oblique_plane_and_plain_tensor() -> None:
    assert display_order(oblique_affine()) == ((), True)
    np.testing.assert_array_equal(DisplayOrder()(torch.tensor(gradient(6, 5).T)[None])[0], gradient(6, 5))


def test_volume_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 4, 4, 4\) is not 2-D"):
        DisplayOrder()(torch.zeros(1, 4, 4, 4))


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    axes = np.eye(3)[:, draw(st.permutations(range(3)))] * draw(
        st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3).map(np.array)
    )
    angle = draw(st.floats(-0.6, 0.6))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes * draw(st.tuples(*[st.floats(0.1, 3.0)] * 3).map(np.array))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-100, 100)] * 3))
    return affine


@given(affines(), st.tuples(st.integers(8, 70), st.integers(8, 70)))
def test_resizing_and_its_inverse_keep_the_geometry(affine: np.ndarray, shape: tuple[int, int]) -> None:
    chain = Compose([DisplayOrderd("image"), Resized("image", (32, 32), mode="bilinear", anti_aliasing=True)])
    block = torch.zeros(1, *shape)
    block[:, : shape[0] // 2, shape[1] // 3 :] = 1
    image = MetaTensor(block, affine=affine)
    item = chain({"image": image})
    # every index of the display lies where it lay in the file
    shown = DisplayOrder()(image)
    for index in ((0, 0), (shown.shape[1] - 1, 0), (0, shown.shape[2] - 1)):
        value = MetaTensor(torch.arange(block.numel()).reshape(1, *shape).float(), affine=affine)
        stored = np.unravel_index(int(DisplayOrder()(value)[0][index]), shape)
        np.testing.assert_allclose(shown.affine.numpy() @ [*index, 0, 1], affine @ [*stored, 0, 1], atol=1e-6)
    back = Invertd("pred", chain, "image", nearest_interp=False)({**item, "pred": MetaTensor(item["image"])})["pred"]
    assert back.shape == block.shape
    np.testing.assert_allclose(back.affine, affine, atol=1e-9)
    wrong = ((back.as_tensor() > 0.5) != (block > 0.5)).float().sum()
    # nothing but the border, a pixel or the network's pixel wide, may move
    assert wrong <= (shape[0] + shape[1]) * max(1, max(shape) / 32)


def test_equal_channels_keep_their_values() -> None:
    grey = torch.rand(1, 5, 4)
    for image in (grey, grey.repeat(3, 1, 1), torch.cat([grey.repeat(3, 1, 1), torch.rand(1, 5, 4)])):
        assert torch.equal(ToGrey()(image), grey)


def test_colours_become_luma() -> None:
    colours = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]])[:, None]
    torch.testing.assert_close(ToGrey()(colours), torch.tensor([[[0.299, 0.587, 0.114, 1.0]]]))


def test_metadata_of_grey_stays() -> None:
    image = MetaTensor(torch.rand(3, 5, 4), meta={"filename_or_obj": "a.png"})
    assert ToGreyd("image")({"image": image})["image"].meta["filename_or_obj"] == "a.png"


def test_grey_of_other_channel_counts_is_refused() -> None:
    with pytest.raises(ValueError, match="image has 5 channels"):
        ToGrey()(torch.zeros(5, 4, 4))


def test_grey_gives_equal_channels_of_their_own() -> None:
    grey = torch.rand(1, 5, 4)
    image = ToRGB()(grey)
    assert torch.equal(image, torch.cat([grey, grey, grey]))
    image[0] = 7
    assert (grey < 7).all() and (image[1:] < 7).all()


def test_rgb_stays_and_alpha_is_dropped() -> None:
    image = torch.rand(4, 5, 4)
    assert torch.equal(ToRGB()(image), image[:3])
    assert torch.equal(ToRGB()(image[:3]), image[:3])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_metadata_of_rgb_stays(channels: int) -> None:
    image = MetaTensor(torch.rand(channels, 5, 4), meta={"filename_or_obj": "a.png"})
    assert ToRGBd("image")({"image": image})["image"].meta["filename_or_obj"] == "a.png"


@pytest.mark.parametrize("channels", [0, 2, 5])
def test_rgb_of_other_channel_counts_is_refused(channels: int) -> None:
    with pytest.raises(ValueError, match=f"image has {channels} channels"):
        ToRGB()(torch.zeros(channels, 4, 4))


def body(rows: int = 120, columns: int = 100, seed: int = 0) -> np.ndarray:
    """A noisy picture, bright in the middle and dark, but not black, at its border; 0 to 255."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    noise = np.random.default_rng(seed).normal(0, 6, (rows, columns))
    return (60 + 150 * np.exp(-3 * (x**2 + y**2)) + noise).clip(0, 254).round()


def written(image: np.ndarray, *marks: tuple[int, int, str]) -> np.ndarray:
    """Burn words into an image, at columns and rows."""
    picture = Image.fromarray(image.astype(np.uint8))
    for column, row, word in marks:
        ImageDraw.Draw(picture).text((column, row), word, fill=255 if image[row, column] < 128 else 0)
    return np.asarray(picture).astype(float)


def paper(shape: tuple[int, int]) -> np.ndarray:
    """A light page that was scanned."""
    return np.random.default_rng(1).normal(238, 2, shape).clip(0, 255)


MARGINS = {
    "white on all sides": ((20, 30, 12, 25), 255.0),
    "black bars at the sides": ((0, 0, 60, 60), 0.0),
    "black bars above and below": ((70, 50, 0, 0), 0.0),
    "black on one side": ((0, 0, 0, 100), 0.0),
    "grey": ((15, 15, 15, 15), 128.0),
}


@pytest.mark.parametrize("name", MARGINS)
def test_bars_and_borders_are_found(name: str) -> None:
    (above, below, before, after), value = MARGINS[name]
    image = np.pad(body(), ((above, below), (before, after)), constant_values=value)
    box = (above, above + 120, before, before + 100)
    assert content_box(image) == box
    # the range does not matter
    assert content_box(image * 16 - 1000) == box


def test_words_and_rulers_in_a_margin_are_no_picture() -> None:
    image = np.pad(body(360, 320), 60)
    image = written(image, (5, 5, "PATIENT NAME 01.01.1900"), (420, 20, "R"), (10, 460, "AP 80 kV"))
    ImageDraw.Draw(picture := Image.fromarray(image.astype(np.uint8))).text((150, 5), "CHEST", fill=255, font_size=48)
    image = np.array(picture, dtype=float)
    image[100:400, 8:11] = 255
    assert content_box(image) == (60, 420, 60, 380)


def test_a_page_around_a_frame_around_a_picture() -> None:
    inner = np.pad(body(), 20)
    page = paper((inner.shape[0] + 50, inner.shape[1] + 60))
    page[25:-25, 30:-30] = inner
    assert content_box(page) == (45, 165, 50, 150)


def test_blurred_and_noisy_borders_are_found_within_a_pixel_or_two() -> None:
    image = np.pad(body(), 30, constant_values=255)
    buffer = BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(buffer, "JPEG", quality=80)
    found = content_box(np.asarray(Image.open(buffer)).astype(float))
    np.testing.assert_allclose(found, (30, 150, 30, 130), atol=2)


@pytest.mark.parametrize(
    "image",
    [
        body(),
        gradient(120, 100),
        # air beside a body, up to a twentieth of the width, and a body that touches the border
        np.pad(body(), ((0, 0), (5, 0))),
        np.where(np.arange(120)[:, None] < 20, 0, body()) + np.pad(np.full((1, 40), 90.0), ((0, 119), (30, 30))),
        np.zeros((120, 100)),
        np.pad(body(30, 20), 100),
        # a bright part of a smooth and darker ground
        np.where(np.outer(np.abs(np.arange(120) - 60) < 40, np.abs(np.arange(100) - 40) < 30), 220, 60)
        + np.linspace(0, 20, 100),
    ],
)
def test_pictures_without_a_frame_stay(image: np.ndarray) -> None:
    assert content_box(image) == (0, image.shape[0], 0, image.shape[1])


def test_large_images_are_cut_at_most_a_step_off() -> None:
    image = np.pad(body(1500, 1200), ((400, 410), (0, 0)))
    np.testing.assert_allclose(content_box(image), (400, 1900, 0, 1200), atol=3)


def test_the_picture_within_a_frame_is_cut_out_and_its_mask_put_back() -> None:
    inner = body()
    image = MetaTensor(torch.tensor(np.pad(inner, ((20, 30), (12, 25)), constant_values=255))[None].float())
    chain = Compose([ContentFramed("image"), SameFramed("label")])
    item = chain({"image": image, "label": MetaTensor(torch.arange(170 * 137).reshape(1, 170, 137))})
    np.testing.assert_array_equal(item["image"][0], inner)
    assert item["image"].meta["frame"] == (20, 140, 12, 112)
    # index (0, 0) is what was (20, 12)
    np.testing.assert_array_equal(item["image"].affine[:2, -1], [20, 12])
    assert item["label"].shape == (1, 120, 100) and item["label"][0, 0, 0] == 20 * 137 + 12
    assert item["image"].meta["warnings"] == [
        "it has a frame, left out: the picture is rows 21 to 140, columns 13 to 112"
    ]
    back = chain.transforms[0].inverse(item)
    expected = np.pad(inner, ((20, 30), (12, 25)))
    np.testing.assert_array_equal(back["image"][0], expected)


@pytest.mark.parametrize("columns_first", [True, False])
def test_outside_is_turned_cut_and_left_out_of_masks(columns_first: bool) -> None:
    # a disk, stored mirrored
    y, x = np.mgrid[:120, :100]
    disk = (y - 50) ** 2 + (x - 60) ** 2 <= 30**2
    upright = np.where(disk, body(), 0)
    axes = (RIGHT, FEET) if columns_first else (FEET, RIGHT)
    stored, outside = (a[:, ::-1].T if columns_first else a[:, ::-1] for a in (upright, ~disk))
    image = MetaTensor(torch.tensor(stored.copy())[None].float(), affine=affine_of(*axes))
    image.meta["outside"] = Outside(outside)
    chain = Compose([DisplayOrderd("image"), ContentFramed("image")])
    item = chain({"image": image})
    np.testing.assert_array_equal(item["image"][0], upright[20:81, 30:91])
    np.testing.assert_array_equal(item["image"].meta["outside"].values, ~disk[20:81, 30:91])
    # it is no surprise to who made the file
    assert "warnings" not in item["image"].meta
    item["pred"] = MetaTensor(torch.ones(1, 61, 61), meta=item["image"].meta)
    mask = Invertd("pred", chain, "image", nearest_interp=False)(item)["pred"]
    np.testing.assert_array_equal(mask[0] == 1, ~outside)


def test_what_is_outside_counts_in_no_statistic() -> None:
    inner = body()
    whole = MetaTensor(torch.tensor(inner)[None].float())
    # the same, and as much again of black that is outside
    hidden = np.concatenate([np.zeros((120, 100), bool), np.ones((120, 100), bool)], axis=1)
    wide = MetaTensor(torch.tensor(np.concatenate([inner, np.zeros_like(inner)], axis=1))[None].float())
    wide.meta["outside"] = Outside(hidden)
    scale = ScaleInsided("image", lower=0.5, upper=99.5, b_min=0.0, b_max=1.0, clip=True)
    equalise = EqualiseInsided("image", num_bins=256, min=-1, max=1)
    for steps in ([scale], [scale, equalise]):
        expected, found = (Compose(steps)({"image": image})["image"][0].numpy() for image in (whole, wide))
        np.testing.assert_allclose(found[:, :100], expected, atol=1e-5)
        assert (found[:, 100:] == (0 if len(steps) == 1 else -1)).all()


def test_without_outside_the_statistics_are_monais() -> None:
    image = {"image": MetaTensor(torch.tensor(body())[None].float())}
    settings = {"lower": 0.5, "upper": 99.5, "b_min": 0.0, "b_max": 1.0, "clip": True}
    ours = ScaleInsided("image", **settings)(image)
    monais = ScaleIntensityRangePercentilesd("image", **settings)(image)
    assert torch.equal(ours["image"].as_tensor(), monais["image"].as_tensor())
    equal = {"num_bins": 256, "min": -1, "max": 1}
    ours, monais = EqualiseInsided("image", **equal)(ours), HistogramNormalized("image", **equal)(monais)
    assert torch.equal(ours["image"].as_tensor(), monais["image"].as_tensor())
