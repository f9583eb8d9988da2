# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_semgan.networks.nets import SemanticGAN, WPlusEncoder


def make_encoder(**settings: Any) -> WPlusEncoder:
    small = {"latent_dim": 8, "channel_base": 256, "channel_max": 16, "pyramid_channels": 8, "head_channels": 8}
    return WPlusEncoder(**{"size": 16} | small | settings)


def perturb(encoder: WPlusEncoder) -> WPlusEncoder:
    for head in encoder.heads:
        nn.init.normal_(head.get_parameter("linear.weight"), std=0.1)
    return encoder


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256, 512])
def test_one_code_per_layer_and_the_mean_at_the_start(size: int) -> None:
    encoder = make_encoder(size=size)
    image = torch.randn(1, 1, size, size)
    with torch.no_grad():
        offset = encoder(image)
        assert torch.equal(offset, torch.zeros(1, int(2 * math.log2(size) - 2), 8))
        assert perturb(encoder)(image).std(2).min() > 0
        features = encoder.features(image)
    assert [level.shape[-1] for level in features] == [size >> step for step in range(1, int(math.log2(size)) - 1)]


@pytest.mark.parametrize(
    "size, sides", [(16, [4] + [8] * 5), (32, [4] + [8] * 2 + [16] * 5), (128, [4] + [8] * 2 + [16] * 2 + [32] * 7)]
)
def test_coarse_codes_read_coarse_levels(size: int, sides: list[int]) -> None:
    encoder = make_encoder(size=size)
    seen: list[int] = []
    for head in encoder.heads:
        head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    encoder(torch.randn(1, 1, size, size))
    assert seen == sides


def test_gradients_reach_the_stem_once_the_heads_have_moved() -> None:
    encoder, image = make_encoder(size=64), torch.randn(2, 1, 64, 64)
    encoder(image).sum().backward()
    for head in encoder.heads:
        gradient = head.get_parameter("linear.weight").grad
        assert gradient is not None and gradient.abs().sum() > 0
    encoder.zero_grad()
    perturb(encoder)(image).square().sum().backward()
    gradient = encoder.stem.get_parameter("conv.weight").grad
    assert gradient is not None and gradient.isfinite().all() and gradient.abs().sum() > 0


def test_every_weight_is_used() -> None:
    encoder = perturb(make_encoder(size=32))
    encoder(torch.randn(2, 1, 32, 32)).square().sum().backward()
    assert [name for name, weight in encoder.named_parameters() if weight.grad is None] == []


def test_offset_does_not_depend_on_the_batch() -> None:
    encoder, image = perturb(make_encoder(size=32, in_channels=3)), torch.randn(3, 3, 32, 32)
    together = encoder(image)
    for index in range(3):
        torch.testing.assert_close(encoder(image[index : index + 1]), together[index : index + 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_default_encoder_is_not_larger_than_the_generator(size: int) -> None:
    def count(network: nn.Module) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    network = SemanticGAN(size=size)
    assert count(network.encoder) <= count(network.generator)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"size": 8}, "size is 8"),
        ({"size": 100}, "size is 100"),
        ({"in_channels": 0}, "in_channels 0"),
        ({"latent_dim": 0}, "latent_dim 0"),
        ({"channel_base": 4}, "channel_base 4"),
        ({"channel_max": 7}, "channel_max 7"),
        ({"pyramid_channels": 0}, "pyramid_channels 0"),
        ({"head_channels": 0}, "head_channels 0"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_encoder(**settings)


@pytest.mark.parametrize("image", [torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 32, 32), torch.zeros(1, 16, 16)])
def test_images_of_another_shape(image: Tensor) -> None:
    with pytest.raises(ValueError, match="image has shape"):
        make_encoder()(image)
