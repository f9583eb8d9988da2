# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from monai_semgan.networks.nets import JointDiscriminator


def make_pair(size: int, image_channels: int = 1, label_channels: int = 1) -> tuple[Tensor, Tensor]:
    label = torch.randn(2, label_channels, size, size).sign()
    return torch.randn(2, image_channels, size, size), label


def sides(size: int, num_layers: int) -> list[int]:
    """Sides of the feature maps and of the logits: 4x4 kernels padded by 2, strides 2 ... 2, 1, and 1 padded by 1."""
    result = []
    for layer in range(num_layers + 1):
        size = size + 1 if layer == num_layers else size // 2 + 1
        result.append(size)
    return [*result, size - 1]


@pytest.mark.parametrize("size, image_channels, label_channels", [(16, 1, 1), (32, 3, 4), (64, 1, 3)])
@pytest.mark.parametrize("num_scales, num_layers", [(3, 3), (2, 1)])
def test_shapes_of_the_pyramid(
    size: int, image_channels: int, label_channels: int, num_scales: int, num_layers: int
) -> None:
    discriminator = JointDiscriminator(
        in_channels=image_channels + label_channels, num_scales=num_scales, channels=4, num_layers=num_layers
    )
    logits, features = discriminator(*make_pair(size, image_channels, label_channels))
    assert len(logits) == len(features) == num_scales
    for scale in range(num_scales):
        *hidden, last = sides(size >> scale, num_layers)
        assert logits[scale].shape == (2, 1, last, last)
        expected = [(2, 4 * 2**layer, side, side) for layer, side in enumerate(hidden)]
        assert [tuple(level.shape) for level in features[scale]] == expected


def test_scales_see_the_average_pooled_pair() -> None:
    discriminator = JointDiscriminator(channels=4).eval()
    image, label = make_pair(32)
    pair = torch.cat([image, label], 1)
    logits, _ = discriminator(image, label)
    for scale, network in enumerate(discriminator.scales):
        torch.testing.assert_close(network(pair)[-1], logits[scale])
        # windows of 3x3 every 2 pixels, the mean over the pixels that exist
        total = F.conv2d(pair, torch.ones(2, 1, 3, 3), stride=2, padding=1, groups=2)
        pair = total / F.conv2d(torch.ones_like(pair), torch.ones(2, 1, 3, 3), stride=2, padding=1, groups=2)


def test_middle_convolutions_have_spectral_norm_one() -> None:
    discriminator = JointDiscriminator(channels=8)
    image, label = make_pair(32)
    with torch.no_grad():
        for _ in range(50):
            discriminator(image, label)
    discriminator.eval()
    for scale in discriminator.scales:
        for name, layer in scale.named_children():
            convolution = layer.get_submodule("conv")
            assert is_parametrized(convolution) == name.isdigit(), name
            if name.isdigit():
                assert isinstance(convolution, nn.Conv2d)
                sigma = torch.linalg.matrix_norm(convolution.weight.flatten(1), 2).item()
                assert sigma == pytest.approx(1.0, abs=0.05), name
    before = {key: value.clone() for key, value in discriminator.state_dict().items()}
    discriminator(image, label)
    assert all(torch.equal(value, before[key]) for key, value in discriminator.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_judgement_does_not_depend_on_the_batch(training: bool) -> None:
    discriminator = JointDiscriminator(channels=4)
    with torch.no_grad():
        for _ in range(50):
            discriminator(*make_pair(16))
    discriminator.train(training)
    image, label = make_pair(16)
    together, _ = discriminator(image, label)
    alone, _ = discriminator(image[:1], label[:1])
    for one, both in zip(alone, together, strict=True):
        torch.testing.assert_close(one, both[:1], rtol=1e-3, atol=1e-3)


def test_second_order_gradient_of_r1() -> None:
    discriminator = JointDiscriminator(channels=4)
    image, label = make_pair(32)
    image.requires_grad_()
    label.requires_grad_()
    logits, _ = discriminator(image, label)
    gradients = torch.autograd.grad([level.mean() for level in logits], [image, label], create_graph=True)
    torch.stack([gradient.square().sum() for gradient in gradients]).sum().backward()
    for name, parameter in discriminator.named_parameters():
        if name.endswith("bias"):
            continue
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_bf16_autocast_stays_near_fp32() -> None:
    discriminator = JointDiscriminator(channels=8)
    image, label = make_pair(32)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        for _ in range(30):
            discriminator(image, label)
        logits, _ = discriminator.eval()(image, label)
    expected, _ = discriminator(image, label)
    for half, full in zip(logits, expected, strict=True):
        assert (half.float() - full).abs().max() / full.std() < 0.1


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"in_channels": 1}, "in_channels is 1"),
        ({"num_scales": 0}, "num_scales 0"),
        ({"channels": 0}, "channels 0"),
        ({"num_layers": 0}, "num_layers 0"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JointDiscriminator(**settings)


@pytest.mark.parametrize("label_shape", [(2, 2, 16, 16), (2, 1, 8, 8), (3, 1, 16, 16)])
def test_pairs_that_do_not_fit(label_shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not make pairs of 2 channels"):
        JointDiscriminator(channels=4)(torch.randn(2, 1, 16, 16), torch.randn(label_shape))
