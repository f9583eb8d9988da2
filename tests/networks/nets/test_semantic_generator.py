# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from monai_semgan.networks.blocks import OutputBranch, StyleBlock
from monai_semgan.networks.layers import FIRFilter
from monai_semgan.networks.nets import SemanticGenerator


def make_generator(**settings: Any) -> SemanticGenerator:
    """A small generator whose noise and biases act, as they do after training."""
    settings = {"size": 16, "latent_dim": 8, "channel_base": 256, "channel_max": 12, "mapping_layers": 2} | settings
    generator = SemanticGenerator(**settings)
    for module in generator.modules():
        if isinstance(module, StyleBlock):
            nn.init.constant_(module.noise_strength, 0.5)
        if isinstance(module, (StyleBlock, OutputBranch)):
            nn.init.normal_(module.bias)
    nn.init.normal_(generator.mean_w)
    return generator


@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("image_channels, label_channels", [(1, 1), (3, 4)])
def test_shapes(size: int, image_channels: int, label_channels: int) -> None:
    generator = make_generator(size=size, image_channels=image_channels, label_channels=label_channels)
    assert generator.num_codes == 2 * math.log2(size) - 2
    image, label = generator(torch.randn(2, 8))
    assert image.shape == (2, image_channels, size, size)
    assert label.shape == (2, label_channels, size, size)
    assert image.isfinite().all() and label.isfinite().all()


@pytest.mark.parametrize("size, channels", [(16, [12, 12, 12]), (64, [12, 12, 12, 8, 4])])
def test_channel_rule(size: int, channels: list[int]) -> None:
    blocks = [module for module in make_generator(size=size).modules() if isinstance(module, StyleBlock)]
    assert [block.side for block in blocks[::2]] == [4 * 2**level for level in range(len(channels))]
    assert [block.bias.shape[0] for block in blocks[::2]] == channels


def test_mapping_does_not_see_the_length_of_z() -> None:
    mapping = make_generator().mapping
    z = torch.randn(3, 8)
    torch.testing.assert_close(mapping(7.5 * z), mapping(z), rtol=1e-4, atol=1e-5)


def test_mapping_equals_closed_form() -> None:
    generator = make_generator(mapping_layers=1, mapping_lr_multiplier=0.1)
    weight, bias = generator.mapping.parameters()
    nn.init.normal_(bias)
    z = torch.randn(3, 8)
    before = 0.1 * (z / z.square().mean(1, keepdim=True).sqrt() @ weight.T / math.sqrt(8) + bias)
    expected = math.sqrt(2.0) * torch.where(before > 0, before, 0.2 * before)
    torch.testing.assert_close(generator.mapping(z), expected, rtol=1e-4, atol=1e-5)


def test_w_is_wplus_with_equal_codes() -> None:
    generator = make_generator()
    z = torch.randn(2, 8)
    w = generator.mapping(z)
    wplus = w[:, None].repeat(1, generator.num_codes, 1)
    for from_w, from_wplus, from_z in zip(
        generator.synthesis(w), generator.synthesis(wplus), generator(z), strict=True
    ):
        assert torch.equal(from_w, from_wplus) and torch.equal(from_z, from_wplus)


def test_codes_reach_the_layers_in_order() -> None:
    """A style block takes one code each; a resolution's outputs share theirs with the next resolution's first block."""
    generator = make_generator(size=32)
    blocks = [module for module in generator.modules() if isinstance(module, StyleBlock)]
    branches = [module for module in generator.modules() if isinstance(module, OutputBranch)]
    seen: dict[nn.Module, Tensor] = {}
    for module in [*blocks, *branches]:
        module.register_forward_pre_hook(lambda module, inputs: seen.update({module: inputs[1]}))
    wplus = torch.randn(1, generator.num_codes, 8)
    generator.synthesis(wplus)
    for layer, block in enumerate(blocks):
        assert torch.equal(seen[block], wplus[:, layer])
    for layer, branch in enumerate(branches):
        assert torch.equal(seen[branch], wplus[:, 2 * (layer // 2) + 1])


def test_outputs_are_sums_of_upsampled_branches() -> None:
    generator = make_generator(size=32)
    branches: dict[nn.Module, Tensor] = {}
    for module in generator.modules():
        if isinstance(module, OutputBranch):
            module.register_forward_hook(lambda module, inputs, output: branches.update({module: output}))
    image, label = generator(torch.randn(2, 8))
    fir = FIRFilter()
    for result, parts in ((image, list(branches.values())[::2]), (label, list(branches.values())[1::2])):
        total = torch.zeros_like(result)
        for part in parts:
            while part.shape[-1] < 32:
                part = fir.upsample(part)
            total = total + part
        torch.testing.assert_close(result, total, rtol=1e-4, atol=1e-5)


def test_noise_is_fixed_unless_given() -> None:
    generator = make_generator()
    wplus = torch.randn(2, generator.num_codes, 8)
    fixed, again = generator.synthesis(wplus)[0], generator.synthesis(wplus)[0]
    assert torch.equal(fixed, again)
    buffers = [module.fixed_noise for module in generator.modules() if isinstance(module, StyleBlock)]
    assert torch.equal(generator.synthesis(wplus, buffers)[0], fixed)
    noise = generator.random_noise(2)
    assert [tuple(level.shape) for level in noise] == [(2, 1, block.shape[-1], block.shape[-1]) for block in buffers]
    for level in range(len(noise)):
        changed = [*buffers[:level], noise[level], *buffers[level + 1 :]]
        assert not torch.allclose(generator.synthesis(wplus, changed)[0], fixed)


def test_image_does_not_depend_on_its_neighbours() -> None:
    generator = make_generator(size=32, label_channels=4)
    wplus, noise = torch.randn(3, generator.num_codes, 8), generator.random_noise(3)
    image, label = generator.synthesis(wplus, noise)
    for index in range(3):
        alone = generator.synthesis(wplus[index : index + 1], [level[index : index + 1] for level in noise])
        torch.testing.assert_close(alone[0], image[index : index + 1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone[1], label[index : index + 1], rtol=1e-4, atol=1e-5)


@given(crossovers=st.lists(st.integers(0, 8), min_size=1, max_size=4))
def test_style_mixing_picks_codes(crossovers: list[int]) -> None:
    generator = make_generator(channel_max=1, size=16)
    w, w_mix = torch.randn(2, len(crossovers), 8)
    mixed = generator.mix_styles(w, w_mix, torch.tensor(crossovers))
    assert mixed.shape == (len(crossovers), generator.num_codes, 8)
    for index, crossover in enumerate(crossovers):
        for code in range(generator.num_codes):
            assert torch.equal(mixed[index, code], (w if code < crossover else w_mix)[index])


@given(first=st.floats(0.0, 1.0), second=st.floats(0.0, 1.0), shape=st.sampled_from([(3, 8), (2, 6, 8)]))
def test_truncation(first: float, second: float, shape: tuple[int, ...]) -> None:
    generator = make_generator(channel_max=1)
    w = torch.randn(shape)
    assert torch.equal(generator.truncate(w, 0.0), generator.mean_w.expand(shape))
    torch.testing.assert_close(generator.truncate(w, 1.0), w, rtol=1e-5, atol=1e-6)
    twice = generator.truncate(generator.truncate(w, first), second)
    torch.testing.assert_close(twice, generator.truncate(w, first * second), rtol=1e-4, atol=1e-5)


def test_mean_w_is_an_exponential_average() -> None:
    generator = make_generator()
    nn.init.zeros_(generator.mean_w)
    w = torch.randn(5, 8, requires_grad=True)
    for _ in range(3):
        generator.track_mean_w(w, decay=0.9)
    torch.testing.assert_close(generator.mean_w, (1 - 0.9**3) * w.detach().mean(0))
    assert not generator.mean_w.requires_grad
    assert "mean_w" in generator.state_dict()


def test_sample_repeats_with_a_generator_whatever_the_global_state() -> None:
    network = make_generator(image_channels=3, label_channels=4)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    image, label = network.sample(2, generator=torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = network.sample(2, generator=torch.Generator().manual_seed(5))
    assert torch.equal(image, again[0]) and torch.equal(label, again[1])
    assert not torch.equal(image, network.sample(2, generator=torch.Generator().manual_seed(6))[0])
    assert image.shape == (2, 3, 16, 16) and label.shape == (2, 4, 16, 16)
    assert image.abs().max() <= 1 and not image.requires_grad


def test_sample_with_truncation_zero_is_the_mean() -> None:
    network = make_generator()
    image, label = network.sample(1, truncation=0.0, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    torch.randn(1, 8, generator=generator)
    expected = network.synthesis(network.mean_w[None], network.random_noise(1, generator))
    torch.testing.assert_close(image, expected[0].clamp(-1, 1))
    torch.testing.assert_close(label, expected[1])


def test_second_order_gradient_of_path_length() -> None:
    """The gradient of |J^T y| for W+ reaches every weight that shapes the image."""
    generator = make_generator()
    wplus = generator.broadcast(generator.mapping(torch.randn(2, 8)))
    image, _ = generator.synthesis(wplus)
    (jacobian,) = torch.autograd.grad((image * torch.randn_like(image)).sum(), wplus, create_graph=True)
    jacobian.square().sum(2).mean(1).sqrt().mean().backward()
    for name, parameter in generator.named_parameters():
        # the biases of the outputs do not act on the slope
        if "to_label" in name or name.endswith(("to_image.bias", "to_image.conv.style.bias")):
            continue
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_path_length_gradient_equals_finite_differences() -> None:
    generator = make_generator()
    wplus, direction = torch.randn(1, generator.num_codes, 8), torch.randn(1, 1, 16, 16)
    step = torch.randn_like(wplus)

    def slope(codes: Tensor) -> Tensor:
        codes = codes.detach().requires_grad_()
        image, _ = generator.synthesis(codes)
        return torch.autograd.grad((image * direction).sum(), codes)[0]

    codes = wplus.clone().requires_grad_()
    image, _ = generator.synthesis(codes)
    (first,) = torch.autograd.grad((image * direction).sum(), codes, create_graph=True)
    (second,) = torch.autograd.grad((first * step).sum(), codes)
    numeric = (slope(wplus + 1e-3 * step) - slope(wplus - 1e-3 * step)) / 2e-3
    assert (second - numeric).norm() / numeric.norm() < 0.02


def test_bf16_autocast_stays_near_fp32() -> None:
    generator = make_generator(size=32)
    z, noise = torch.randn(4, 8), generator.random_noise(4)
    expected, _ = generator(z, noise)
    with torch.autocast("cpu", torch.bfloat16):
        result, _ = generator(z, noise)
    assert (result.float() - expected).square().mean().sqrt() / expected.std() < 0.05


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"size": 8}, "size is 8"),
        ({"size": 48}, "size is 48"),
        ({"size": 0}, "size is 0"),
        ({"image_channels": 2}, "image_channels is 2"),
        ({"label_channels": 0}, "label_channels is 0"),
        ({"latent_dim": 0}, "latent_dim 0"),
        ({"mapping_layers": 0}, "mapping_layers 0"),
        ({"size": 64, "channel_base": 32}, "channel_base 32"),
        ({"channel_max": 0}, r"channel_max \(0\)"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_generator(**settings)


@pytest.mark.parametrize("shape", [(2, 5, 8), (2, 6, 7), (2, 7), (8,), (1, 2, 6, 8)])
def test_codes_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="codes have shape"):
        make_generator().synthesis(torch.randn(shape))


def test_noise_that_does_not_fit() -> None:
    generator = make_generator()
    w, noise = torch.randn(1, 8), generator.random_noise(1)
    with pytest.raises(ValueError, match="4 noise maps given, this generator needs 5"):
        generator.synthesis(w, noise[:-1])
    with pytest.raises(ValueError, match="noise has shape"):
        generator.synthesis(w, noise[::-1])


def test_sample_arguments_out_of_range() -> None:
    generator = make_generator()
    with pytest.raises(ValueError, match="num is 0"):
        generator.sample(0)
    for truncation in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="truncation is"):
            generator.sample(1, truncation=truncation)
