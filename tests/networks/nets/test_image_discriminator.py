# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_semgan.networks.nets import ImageDiscriminator


def make_discriminator(**settings: Any) -> ImageDiscriminator:
    return ImageDiscriminator(**{"size": 16, "channel_base": 128, "channel_max": 8} | settings)


@pytest.mark.parametrize("batch", range(1, 10))
def test_any_batch_size(batch: int) -> None:
    logits = make_discriminator()(torch.randn(batch, 1, 16, 16))
    assert logits.shape == (batch, 1) and logits.isfinite().all()


@pytest.mark.parametrize("size, in_channels", [(16, 3), (32, 1), (128, 1)])
def test_sizes_and_channels(size: int, in_channels: int) -> None:
    discriminator = make_discriminator(size=size, in_channels=in_channels)
    assert discriminator(torch.randn(2, in_channels, size, size)).shape == (2, 1)
    assert discriminator.conv.weight.shape[0] == 8
    assert discriminator.from_image.weight.shape[0] == min(128 // size, 8)


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_real_and_drawn_images_pass_together_as_they_do_alone(batch: int) -> None:
    discriminator, image = make_discriminator(), torch.randn(2 * batch, 1, 16, 16)
    alone = torch.cat([discriminator(part) for part in image.split(batch)])
    torch.testing.assert_close(discriminator(image, parts=2), alone, rtol=1e-4, atol=1e-5)


def test_unequal_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 3 images does not fall into 2 equal parts"):
        make_discriminator()(torch.randn(3, 1, 16, 16), parts=2)


def test_order_within_a_group_does_not_matter() -> None:
    discriminator, image = make_discriminator(), torch.randn(4, 1, 16, 16)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(discriminator(image[order]), discriminator(image)[order], rtol=1e-4, atol=1e-5)


def test_sees_how_much_a_batch_varies() -> None:
    """Four copies of an image are judged by another minibatch channel than the image among others."""
    discriminator, image = make_discriminator(), torch.randn(4, 1, 16, 16)
    copies = image[:1].expand(4, -1, -1, -1)
    assert not torch.allclose(discriminator(image)[0], discriminator(copies)[0])
    torch.testing.assert_close(discriminator(copies)[0], discriminator(image[:1])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 4])
def test_second_order_gradient_of_r1(batch: int) -> None:
    discriminator = make_discriminator(in_channels=3)
    image = torch.randn(batch, 3, 16, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(discriminator(image).sum(), image, create_graph=True)
    gradient.square().sum((1, 2, 3)).mean().backward()
    for name, parameter in discriminator.named_parameters():
        if name == "output.bias":
            continue
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if name.endswith("weight"):
            assert parameter.grad.abs().sum() > 0, name


def test_bf16_autocast_stays_near_fp32() -> None:
    discriminator, image = make_discriminator(channel_max=16), torch.randn(8, 1, 16, 16)
    expected = discriminator(image)
    with torch.autocast("cpu", torch.bfloat16):
        logits = discriminator(image)
    assert (logits.float() - expected).abs().max() / expected.abs().max() < 0.1


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"size": 24}, "size is 24"),
        ({"size": 8}, "size is 8"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"size": 32, "channel_base": 16}, "channel_base 16"),
        ({"channel_max": 0}, r"channel_max \(0\)"),
        ({"group_size": 0}, "group_size is 0"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_discriminator(**settings)


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 1, 32, 32), (2, 1, 16, 8)])
def test_images_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"image has shape .* expected \(batch, 1, 16, 16\)"):
        make_discriminator()(torch.randn(shape))
