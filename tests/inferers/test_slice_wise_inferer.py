# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn

from monai_semgan.inferers import WPlusInferer, WPlusResult
from monai_semgan.inferers.slice_wise_inferer import SliceWiseInferer
from monai_semgan.networks.nets import SemanticGAN
from tests.wplus_network import make_network


class Recorder(Inferer):
    """Doubles its input and records how many slices came."""

    def __init__(self) -> None:
        self.chunks: list[int] = []

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        self.chunks.append(len(inputs))
        return torch.cat([inputs * 2, -inputs], dim=1)


@pytest.fixture(scope="module")
def network() -> SemanticGAN:
    return make_network()


def test_slices_come_back_in_their_places() -> None:
    inner, volumes = Recorder(), torch.rand(2, 1, 4, 5, 7)
    out = SliceWiseInferer(inner, chunk=4)(volumes, None)
    assert torch.equal(out, torch.cat([volumes * 2, -volumes], dim=1))
    assert inner.chunks == [4, 4, 4, 2]


@pytest.mark.parametrize(
    "settings, chunk",
    [
        ({}, 33),
        ({"memory_budget_mb": 100}, 2),
        ({"memory_budget_mb": 10}, 1),
        ({"slice_mb": 150}, 10),
        ({"chunk": 5}, 5),
    ],
)
def test_chunk_follows_from_the_budget(settings: dict, chunk: int) -> None:
    assert SliceWiseInferer(Recorder(), **settings).chunk == chunk


def test_result_does_not_depend_on_the_chunk(network: SemanticGAN) -> None:
    volumes = torch.rand(2, 1, 16, 16, 5) * 2 - 1
    results = [
        SliceWiseInferer(WPlusInferer(steps=4, amp=False), chunk=chunk)(volumes, network, return_details=True)
        for chunk in (1, 3, 10)
    ]
    shapes = [(2, 1, 16, 16, 5), (2, 5, network.generator.num_codes, 8), (2, 1, 16, 16, 5), (2, 5)]
    for result in results:
        assert isinstance(result, WPlusResult)
        assert [tuple(value.shape) for value in result[:4]] == shapes
        for value, expected in zip(result[:4], results[0][:4], strict=True):
            torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-4)
    logits = SliceWiseInferer(WPlusInferer(steps=4, amp=False))(volumes, network)
    torch.testing.assert_close(logits, results[0].logits, atol=1e-4, rtol=1e-4)


def test_each_slice_is_refined_as_an_image(network: SemanticGAN) -> None:
    volumes = torch.rand(2, 1, 16, 16, 3) * 2 - 1
    result = SliceWiseInferer(WPlusInferer(steps=2, amp=False))(volumes, network, return_details=True)
    alone = WPlusInferer(steps=2, amp=False)(volumes[1:, ..., 2], network, return_details=True)
    torch.testing.assert_close(result.reconstruction[1:, ..., 2], alone.reconstruction, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(result.losses[1:, 2], alone.losses, atol=1e-5, rtol=1e-4)


def test_no_more_slices_than_a_chunk_are_drawn_or_encoded_at_once(
    network: SemanticGAN, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: dict[str, list[int]] = {}

    def count(owner: Any, name: str) -> None:
        called = getattr(owner, name)

        def counted(batch: Tensor, *args: Any) -> Any:
            sizes.setdefault(name, []).append(len(batch))
            return called(batch, *args)

        monkeypatch.setattr(owner, name, counted)

    for owner, name in ((network, "decode"), (network, "encode"), (network.encoder, "features")):
        count(owner, name)
    inferer = SliceWiseInferer(WPlusInferer(steps=1), chunk=2)
    for depth in (3, 7):
        inferer(torch.rand(1, 1, 16, 16, depth) * 2 - 1, network)
    assert {name: max(numbers) for name, numbers in sizes.items()} == {"decode": 2, "encode": 2, "features": 2}


def test_one_volume_does_not_know_the_other(network: SemanticGAN) -> None:
    volumes = torch.rand(2, 1, 16, 16, 5) * 2 - 1
    inferer = SliceWiseInferer(WPlusInferer(steps=3, amp=False), chunk=3)
    torch.testing.assert_close(inferer(volumes, network)[1:], inferer(volumes[1:], network), atol=1e-4, rtol=1e-4)


def test_single_slices(network: SemanticGAN) -> None:
    volume = torch.rand(1, 1, 16, 16, 1) * 2 - 1
    single = SliceWiseInferer(WPlusInferer(steps=1))(volume, network, return_details=True)
    assert single.logits.shape == (1, 1, 16, 16, 1) and single.losses.shape == (1, 1)


def test_metadata_is_kept() -> None:
    volumes = MetaTensor(torch.rand(1, 1, 4, 4, 3), affine=torch.eye(4) * 2, meta={"name": "a"})
    out = SliceWiseInferer(SimpleInferer())(volumes, nn.Identity())
    assert isinstance(out, MetaTensor) and out.meta["name"] == "a" and torch.equal(out.affine, volumes.affine)


@pytest.mark.parametrize(
    "shape, message",
    [
        ((1, 1, 16, 24, 3), r"\[3, 1, 16, 24\], this network expects \(batch, 1, 16, 16\): resize"),
        ((1, 1, 16, 16), r"\[1, 1, 16, 16\], volumes \(batch, channel, row, column, slice\) expected"),
        ((1, 1, 16, 16, 0), r"\[1, 1, 16, 16, 0\], volumes"),
    ],
)
def test_other_shapes_are_refused(network: SemanticGAN, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SliceWiseInferer(WPlusInferer(steps=0))(torch.zeros(shape), network)


@pytest.mark.parametrize(
    "setting, value",
    [
        ("memory_budget_mb", 0),
        ("slice_mb", -1.0),
        ("chunk", 0),
    ],
)
def test_settings_out_of_range(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting} is {value}"):
        SliceWiseInferer(SimpleInferer(), **{setting: value})


class Same(Inferer):
    """Gives the images back as logits."""

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        return inputs.clone()


def test_small_pieces_of_a_volume_are_left_out() -> None:
    logits = -torch.ones(2, 1, 8, 8, 6)
    # 48 voxels, a piece of 2 that touches nothing, and one of 4 that hangs on the first by a corner
    logits[0, 0, :4, :4, :3] = 3.0
    logits[0, 0, 7, 0, 4:] = 2.0
    logits[0, 0, 4:6, 4:6, 3] = 1.0
    # alone in its volume a small piece is the largest
    logits[1, 0, 7, 7, 0] = 5.0
    expected = logits.clone()
    expected[0, 0, 7, 0, 4:] = -2.0
    assert torch.equal(SliceWiseInferer(Same(), chunk=2, smallest_piece=0.05)(logits, None), expected)
    # 2 of 52 voxels are a share of 0.038
    assert torch.equal(SliceWiseInferer(Same(), smallest_piece=0.03)(logits, None), logits)
    # of two classes: where the first is background the same pieces fall back to it
    several = torch.cat([torch.zeros_like(logits), logits, torch.full_like(logits, -9.0)], dim=1)
    found = SliceWiseInferer(Same(), smallest_piece=0.05)(several, None)
    assert torch.equal(found.argmax(1), (expected[:, 0] > 0).long())
    # each class has pieces of its own
    several[0, 2, 7, 0, 4:] = 4.0
    assert (SliceWiseInferer(Same(), smallest_piece=0.05)(several, None).argmax(1)[0, 7, 0, 4:] == 2).all()
    with pytest.raises(ValueError, match="smallest_piece is 2"):
        SliceWiseInferer(Same(), smallest_piece=2)
