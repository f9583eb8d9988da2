# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from monai_semgan.benchmark.tasks import operations
from monai_semgan.networks.layers import EqualizedConv2d, ModulatedConv2d, winograd
from monai_semgan.networks.nets import SemanticGAN

WIDE = winograd.LEAST_CHANNELS


def direct(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=1)


def assert_close(result: Tensor, exact: Tensor, tolerance: float = 1e-5) -> None:
    """Within a fraction of the norm: single values may lie near 0."""
    assert result.shape == exact.shape
    assert (result.double() - exact).norm() <= tolerance * exact.norm()


def make_tensors(
    shape: tuple[int, ...], channels: int, memory_format: torch.memory_format = torch.contiguous_format
) -> list[Tensor]:
    """What :func:`with_gradients` takes, for an input of a shape and so many channels of the result."""
    x, weight = torch.randn(shape).to(memory_format=memory_format), torch.randn(channels, shape[1], 3, 3)
    return [x, weight, torch.randn(shape[0], channels, *shape[2:]), torch.randn_like(x), torch.randn_like(weight)]


def with_gradients(convolution: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """Result, gradients, and the gradients of a product with these, as R1 and path length take them."""
    x, weight, along, along_x, along_weight = tensors
    inputs = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
    y = convolution(*inputs)
    first = torch.autograd.grad(y, inputs, along, create_graph=True)
    second = torch.autograd.grad((first[0] * along_x).sum() + (first[1] * along_weight).sum(), inputs)
    return [y, *first, *second]


def assert_all_equal_the_direct_sum(results: list[Tensor], tensors: list[Tensor]) -> None:
    for result, exact in zip(results, with_gradients(direct, [tensor.double() for tensor in tensors])):
        assert result.dtype == torch.float32
        assert_close(result, exact)


@given(
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    tiles=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    block=st.sampled_from([1, 36 * 20, winograd.BLOCK]),
    memory_format=st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_results_and_both_gradients_equal_the_direct_sum(
    batch: int, channels: tuple[int, int], tiles: tuple[int, int], block: int, memory_format: torch.memory_format
) -> None:
    tensors = make_tensors((batch, channels[0], 4 * tiles[0], 4 * tiles[1]), channels[1], memory_format)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "BLOCK", block)
        results = with_gradients(winograd.winograd, tensors)
    assert_all_equal_the_direct_sum(results, tensors)


def test_wide_layers_take_tiles_for_all_gradients() -> None:
    tensors = make_tensors((2, WIDE, 32, 32), WIDE + 8)
    with FlopCounterMode(display=False) as counter:
        results = with_gradients(lambda x, weight: winograd.convolve(x, weight, padding=1), tensors)
    counted = counter.get_flop_counts()["Global"]
    assert {str(name) for name in counted} == {"monai_semgan.winograd", "monai_semgan.winograd_weight"}
    assert_all_equal_the_direct_sum(results, tensors)


def test_gradients_stay_in_fp32_under_autocast() -> None:
    tensors = make_tensors((2, 8, 16, 16), 8)
    with torch.autocast("cpu", torch.bfloat16):
        results = with_gradients(winograd.winograd, tensors)
    assert_all_equal_the_direct_sum(results, tensors)


def test_operations_are_counted_as_those_of_the_direct_sum() -> None:
    x, weight = torch.randn(2, WIDE, 32, 32), torch.randn(WIDE + 8, WIDE, 3, 3)
    along = torch.randn(2, WIDE + 8, 32, 32)
    counts = []
    for convolution in (winograd.winograd, direct):
        with FlopCounterMode(display=False) as counter:
            inputs = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
            torch.autograd.grad(convolution(*inputs), inputs, along)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] == 3 * 2 * 9 * WIDE * (WIDE + 8) * 2 * 32 * 32


def test_only_the_gradients_that_are_asked_for_are_computed() -> None:
    layer = EqualizedConv2d(WIDE, WIDE, 3, padding=1)
    x = torch.randn(1, WIDE, 32, 32, requires_grad=True)

    def passes(inputs: list[Tensor]) -> float:
        counted = operations(lambda: torch.autograd.grad(layer(x).sum(), inputs))
        return counted / (2 * 9 * WIDE**2 * 32**2)

    assert passes([x]) == passes([layer.weight]) == 2
    assert passes([x, layer.weight]) == 3


@pytest.mark.parametrize(
    ("shape", "channels", "dtype", "amp"),
    [
        ((2, WIDE - 1, 32, 32), WIDE, torch.float32, False),
        ((2, WIDE, 32, 32), WIDE - 1, torch.float32, False),
        ((2, WIDE, 30, 32), WIDE, torch.float32, False),
        ((1, WIDE, 8, 8), WIDE, torch.float32, False),
        ((2, WIDE, 32, 32), WIDE, torch.float64, False),
        ((2, WIDE, 32, 32), WIDE, torch.bfloat16, False),
        ((2, WIDE, 32, 32), WIDE, torch.float32, True),
    ],
)
def test_other_layers_are_summed_directly(shape: tuple[int, ...], channels: int, dtype: torch.dtype, amp: bool) -> None:
    x, weight, bias = (torch.randn(s, dtype=dtype) for s in (shape, (channels, shape[1], 3, 3), (channels,)))
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        result, expected = winograd.convolve(x, weight, bias, padding=1), F.conv2d(x, weight, bias, padding=1)
    assert torch.equal(result, expected)


def test_operations_meet_the_rules_of_torch() -> None:
    x, weight = torch.randn(1, 3, 4, 8, requires_grad=True), torch.randn(2, 3, 3, 3, requires_grad=True)
    torch.library.opcheck(winograd.winograd, (x, weight))
    torch.library.opcheck(winograd.winograd_weight, (x, torch.randn(1, 2, 4, 8, requires_grad=True)))


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    x, weight = torch.randn(5, WIDE, 32, 32), torch.randn(WIDE, WIDE, 3, 3)
    together = winograd.winograd(x, weight)
    for index in range(len(x)):
        assert_close(winograd.winograd(x[index : index + 1], weight), together[index : index + 1].double(), 1e-6)


def test_layers_equal_the_direct_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = EqualizedConv2d(WIDE, WIDE, 3, padding=1), ModulatedConv2d(WIDE, WIDE, 3, 16)
    layers[0].bias.data.normal_()
    x, w = torch.randn(2, WIDE, 32, 32), torch.randn(2, 16)
    tiles = [layers[0](x), layers[1](x, w)[0]]
    monkeypatch.setattr(winograd, "LEAST_CHANNELS", 1 << 30)
    for result, expected in zip(tiles, [layers[0](x), layers[1](x, w)[0]]):
        assert not torch.equal(result, expected)
        assert_close(result, expected.double())


def test_a_wide_network_draws_the_same_and_exports_without_this_package(monkeypatch: pytest.MonkeyPatch) -> None:
    network = SemanticGAN(size=64, latent_dim=32, channel_base=8192, channel_max=WIDE).eval()
    images = torch.rand(1, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        tiles = network(images)
        scripted, traced = torch.jit.script(network), torch.jit.trace(network, images, check_trace=False)
        assert "monai_semgan::" not in str(scripted.inlined_graph) + str(traced.inlined_graph)
        monkeypatch.setattr(winograd, "LEAST_CHANNELS", 1 << 30)
        expected = network(images)
    assert not torch.equal(tiles, expected)
    for result in (tiles, scripted(images), traced(images)):
        assert_close(result, expected.double(), 1e-4)


def test_compiled_layers_equal_the_plain_ones() -> None:
    layer = EqualizedConv2d(WIDE, WIDE, 3, padding=1)
    x = torch.randn(2, WIDE, 32, 32, requires_grad=True)
    # without generating code, which takes a C++ compiler
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    results = []
    for call in (layer, compiled):
        y = call(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, layer.weight])])
    for plain, same in zip(*results):
        assert_close(same, plain.double())
