# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Resized

from monai_semgan.transforms import ShadesOfGrey, ShadesOfGreyd


def norms(image: torch.Tensor, p: float) -> torch.Tensor:
    return image.double().flatten(1).pow(p).mean(1).pow(1 / p)


def test_closed_form() -> None:
    # grey world: means 2, 4 and 6, mean 4
    image = torch.tensor([[1.0, 3.0], [4.0, 4.0], [0.0, 12.0]])[:, None]
    torch.testing.assert_close(ShadesOfGrey(norm=1)(image), torch.tensor([[[2.0, 6.0]], [[4.0, 4.0]], [[0.0, 8.0]]]))
    # max-RGB: 3, 4 and 12, mean 19 / 3
    white = ShadesOfGrey(norm=float("inf"))(image)
    torch.testing.assert_close(white.amax((1, 2)), torch.full((3,), 19 / 3))


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
@pytest.mark.parametrize("p", [1, 2, 6, 50])
def test_lights_of_the_result_are_equal_and_keep_their_mean(p: int, top: float) -> None:
    image = torch.rand(3, 9, 7) * torch.tensor([1.0, 0.5, 0.2])[:, None, None] * top
    light = norms(image / top, p) * top
    expected = light.mean() / light[:, None, None] * image
    torch.testing.assert_close(ShadesOfGrey(norm=p)(image), expected.float())
    torch.testing.assert_close(norms(expected / top, p) * top, light.mean().expand(3))


@given(
    gains=st.lists(st.floats(0.1, 10), min_size=3, max_size=3),
    p=st.sampled_from([1.0, 2.5, 6.0, float("inf")]),
    seed=st.integers(0, 1000),
)
def test_gains_of_channels_change_one_overall_factor_alone(gains: list[float], p: float, seed: int) -> None:
    image = torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(seed)) + 0.01
    balance = ShadesOfGrey(norm=p)
    ratio = balance(image * torch.tensor(gains)[:, None, None]) / balance(image)
    torch.testing.assert_close(ratio, ratio[0, 0, 0].expand(ratio.shape), rtol=1e-4, atol=0)


def test_dark_channels_stay_and_do_not_count() -> None:
    assert torch.equal(ShadesOfGrey()(torch.zeros(3, 4, 4)), torch.zeros(3, 4, 4))
    image = torch.tensor([2.0, 6.0, 0.0])[:, None, None].expand(3, 4, 4)
    torch.testing.assert_close(ShadesOfGrey()(image)[:, 0, 0], torch.tensor([4.0, 4.0, 0.0]))


def test_integers_become_floats() -> None:
    image = torch.randint(0, 256, (3, 5, 5), dtype=torch.uint8)
    torch.testing.assert_close(ShadesOfGrey()(image), ShadesOfGrey()(image.float()))


def test_other_transforms_of_the_chain_are_inverted() -> None:
    item = {"image": MetaTensor(torch.rand(3, 12, 20) * 255, meta={"filename_or_obj": "a.png"})}
    chain = Compose([Resized("image", spatial_size=(8, 8)), ShadesOfGreyd("image", norm=6)])
    balanced = chain(item)
    assert balanced["image"].meta["filename_or_obj"] == "a.png"
    balanced["pred"] = balanced["image"][:1] > 100
    inverted = Invertd("pred", transform=chain, orig_keys="image", nearest_interp=True)(balanced)
    assert inverted["pred"].shape == (1, 12, 20)


@pytest.mark.parametrize(
    "image, message",
    [(torch.rand(1, 4, 4), "image has 1 channels, 3"), (torch.full((3, 4, 4), -2.0), "lowest value is -2")],
)
def test_images_that_cannot_be_balanced(image: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShadesOfGrey()(image)


@pytest.mark.parametrize("norm", [0.5, float("nan")])
def test_bad_norm(norm: float) -> None:
    with pytest.raises(ValueError, match=f"norm is {norm}"):
        ShadesOfGrey(norm=norm)
