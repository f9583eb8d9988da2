# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn

from monai_semgan.inferers import IntensityCurve, WPlusInferer, WPlusResult
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
        SliceWiseInferer(WPlusInferer(steps=4), chunk=chunk)(volumes, network, return_details=True)
        for chunk in (1, 3, 10)
    ]
    shapes = [(2, 1, 16, 16, 5), (2, 5, network.generator.num_codes, 8), (2, 1, 16, 16, 5), (2, 5), (2, 5), (2, 5, 2)]
    for result in results:
        assert isinstance(result, WPlusResult)
        assert [tuple(value.shape) for value in result] == shapes
        for value, expected in zip(result, results[0], strict=True):
            torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-4)
    logits = SliceWiseInferer(WPlusInferer(steps=4))(volumes, network)
    torch.testing.assert_close(logits, results[0].logits, atol=1e-4, rtol=1e-4)


def test_each_slice_is_refined_as_an_image(network: SemanticGAN) -> None:
    volumes = torch.rand(2, 1, 16, 16, 3) * 2 - 1
    result = SliceWiseInferer(WPlusInferer(steps=2))(volumes, network, return_details=True)
    alone = WPlusInferer(steps=2)(volumes[1:, ..., 2], network, return_details=True)
    torch.testing.assert_close(result.reconstruction[1:, ..., 2], alone.reconstruction, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(result.losses[1:, 2], alone.losses, atol=1e-5, rtol=1e-4)


RELATED: list[tuple[dict, dict]] = [
    ({"neighbour_rounds": 2}, {}),
    ({"smoothness": 0.5}, {}),
    ({"curve_slices": 3}, {"curve_knots": 4}),
    ({"neighbour_rounds": 1, "smoothness": 0.5}, {"curve_knots": 3}),
]


@pytest.mark.parametrize("settings, inner", RELATED)
def test_related_slices_do_not_depend_on_the_chunk(network: SemanticGAN, settings: dict, inner: dict) -> None:
    volumes = torch.rand(2, 1, 16, 16, 5) * 2 - 1
    results = [
        SliceWiseInferer(WPlusInferer(steps=3, **inner), chunk=chunk, **settings)(volumes, network, return_details=True)
        for chunk in (2, 100)
    ]
    for value, expected in zip(*results, strict=True):
        torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-4)
    # one volume does not know the other
    alone = SliceWiseInferer(WPlusInferer(steps=3, **inner), **settings)(volumes[1:], network)
    torch.testing.assert_close(results[0].logits[1:], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("settings, inner", RELATED)
def test_no_more_slices_than_a_chunk_are_drawn_or_encoded_at_once(
    network: SemanticGAN, monkeypatch: pytest.MonkeyPatch, settings: dict, inner: dict
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
    inferer = SliceWiseInferer(WPlusInferer(steps=1, **inner), chunk=2, **settings)
    for depth in (3, 7):
        inferer(torch.rand(1, 1, 16, 16, depth) * 2 - 1, network)
    assert {name: max(numbers) for name, numbers in sizes.items()} == {"decode": 2, "encode": 2, "features": 2}


def test_further_rounds_start_at_neighbours_and_keep_what_is_better(network: SemanticGAN) -> None:
    slices = torch.rand(4, 1, 16, 16) * 2 - 1
    # so that the first round leaves much to be found
    inner = WPlusInferer(steps=3, learning_rate=0.1, regulariser_weight=0.0)
    volume = slices.movedim(0, -1)[None]
    result = SliceWiseInferer(inner, neighbour_rounds=1, chunk=3)(volume, network, return_details=True)
    first = [inner(image[None], network, return_details=True) for image in slices]
    taken = []
    for place, image in enumerate(slices):
        codes = [first[k].wplus for k in (place - 1, place + 1) if 0 <= k < 4]
        losses = [inner.loss(network.decode(code)[0], image[None], network).item() for code in codes]
        start = codes[losses.index(min(losses))]
        again = inner(image[None], network, return_details=True, starts=start[:, None])
        taken.append(bool(again.losses < first[place].losses))
        expected = again if taken[-1] else first[place]
        torch.testing.assert_close(result.losses[0, place], expected.losses[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(result.wplus[0, place], expected.wplus[0], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(result.logits[0, ..., place], expected.logits[0], atol=1e-3, rtol=1e-3)
    assert any(taken)


def test_smoothness_draws_codes_to_the_mean_of_the_neighbours(network: SemanticGAN) -> None:
    slices = torch.rand(4, 1, 16, 16) * 2 - 1
    inner = WPlusInferer(steps=3)
    volume = slices.movedim(0, -1)[None]
    result = SliceWiseInferer(inner, smoothness=0.2, chunk=3)(volume, network, return_details=True)
    codes = network.encode(slices).detach()
    variance = codes.double().var(0).mean().item()
    for place in range(4):
        anchor = torch.stack([codes[k] for k in (place - 1, place + 1) if 0 <= k < 4]).mean(0)
        image = slices[place : place + 1]
        alone = inner(image, network, return_details=True, anchor=anchor[None], anchor_weight=0.2 / variance)
        torch.testing.assert_close(result.wplus[0, place], alone.wplus[0], atol=1e-4, rtol=1e-3)


def test_more_smoothness_gives_codes_that_differ_less(network: SemanticGAN) -> None:
    volume = torch.rand(1, 1, 16, 16, 5) * 2 - 1

    def roughness(smoothness: float) -> float:
        # a loss that hardly counts
        inner = WPlusInferer(steps=10, l2_weight=1e-9, perceptual="none", regulariser_weight=0.0, tolerance=0.0)
        inferer = SliceWiseInferer(inner, smoothness=smoothness, neighbour_rounds=0)
        result = inferer(volume, network, return_details=True)
        assert isinstance(result, WPlusResult)
        return result.wplus[0].diff(dim=0).square().mean().item()

    assert roughness(10.0) < roughness(0.0)


def test_a_volume_has_one_curve(network: SemanticGAN) -> None:
    drawn, _ = network.generator.sample(5, generator=torch.Generator().manual_seed(1))
    slices = drawn.clamp(-0.9, 0.9) * 0.4 + 0.3
    inner = WPlusInferer(steps=4, curve_knots=3)
    volume = slices.movedim(0, -1)[None]
    result = SliceWiseInferer(inner, curve_slices=2, chunk=4)(volume, network, return_details=True)
    # slices 1 and 3 are the middles of two halves
    found = inner(slices[[1, 3]], network, return_details=True)
    curve = IntensityCurve(found.curves).common().expand(5)
    torch.testing.assert_close(result.curves[0], curve.values, atol=1e-5, rtol=1e-4)
    refined = inner(curve.inverse(slices), network, return_details=True, find_curves=False)
    torch.testing.assert_close(result.logits[0], refined.logits.movedim(0, -1), atol=1e-3, rtol=1e-3)
    redrawn = curve(refined.reconstruction, slices).movedim(0, -1)
    torch.testing.assert_close(result.reconstruction[0], redrawn, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("settings, inner", RELATED)
def test_no_steps_and_single_slices(network: SemanticGAN, settings: dict, inner: dict) -> None:
    volume = torch.rand(1, 1, 16, 16, 3) * 2 - 1
    plain = SliceWiseInferer(WPlusInferer(steps=0))(volume, network)
    assert torch.equal(SliceWiseInferer(WPlusInferer(steps=0, **inner), **settings)(volume, network), plain)
    single = SliceWiseInferer(WPlusInferer(steps=1, **inner), **settings)(volume[..., :1], network, return_details=True)
    assert single.logits.shape == (1, 1, 16, 16, 1) and single.curves.shape[:2] == (1, 1)


def test_relations_need_a_wplus_inferer() -> None:
    for setting in ({"neighbour_rounds": 1}, {"smoothness": 0.1}):
        with pytest.raises(ValueError, match="needs a WPlusInferer, not a SimpleInferer"):
            SliceWiseInferer(SimpleInferer(), **setting)


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
        ("curve_slices", 0),
        ("smoothness", -1),
        ("neighbour_rounds", -1),
    ],
)
def test_settings_out_of_range(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting} is {value}"):
        SliceWiseInferer(SimpleInferer(), **{setting: value})
