# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch

from monai_semgan.losses.wplus import WPlusRegulariser
from monai_semgan.networks.nets import SemanticGAN


def network() -> SemanticGAN:
    return SemanticGAN(size=16, latent_dim=8, channel_base=128, channel_max=8, encoder_channel_max=16)


def test_closed_form_with_an_untrained_encoder() -> None:
    # untrained heads are zero, so the encoder finds the mean w whatever the image
    net = network()
    net.generator.mean_w.fill_(0.25)
    wplus = torch.randn(3, 6, 8)
    expected = (wplus - 0.25).square().flatten(1).mean(1)
    found = WPlusRegulariser()(wplus, net.decode(wplus)[0], net)
    torch.testing.assert_close(found, expected)


def test_codes_that_the_encoder_finds_cost_nothing() -> None:
    net, image = network(), torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        for head in net.encoder.heads:
            head.linear.weight.normal_()
    codes = net.encode(image)
    assert codes.std() > 0.01
    torch.testing.assert_close(WPlusRegulariser()(codes, image, net), torch.zeros(2))


def test_gradient_flows_through_the_reconstruction() -> None:
    net, image = network(), torch.rand(2, 1, 16, 16, requires_grad=True)
    with torch.no_grad():
        for head in net.encoder.heads:
            head.linear.weight.normal_()
    WPlusRegulariser()(torch.zeros(2, 6, 8), image, net).sum().backward()
    assert image.grad is not None and (image.grad.flatten(1).abs().sum(1) > 0).all()
