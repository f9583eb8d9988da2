# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Resized

from monai_semgan.transforms import DisplayOrder, DisplayOrderd, ToGrey, ToGreyd, ToRGB, ToRGBd
from monai_semgan.transforms.display import display_order
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
