# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest
import torch

from monai_semgan.losses.wplus import WPlusRegulariser, label_distance
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


def test_label_distance_in_closed_form() -> None:
    logits, label = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 1.0], [0.0, 0.5]]]])
    # p is 1/2 everywhere: ln 2, and 2 * 1.25 of 2 + 2.5, both with the 1 that keeps empty maps whole
    expected = math.log(2) + 1 - 3.5 / 5.5 + 2 * 1.25 / 5.5 - 2.5 / 5.5
    torch.testing.assert_close(label_distance(logits, label), torch.tensor([expected]))


def test_label_distance_of_exclusive_classes() -> None:
    logits = torch.randn(2, 3, 4, 4)
    label = torch.softmax(torch.randn(2, 3, 4, 4), dim=1)
    found = torch.softmax(logits, dim=1)
    entropy = -(label * found.log()).sum(1).mean((1, 2))
    shared, total = (found * label)[:, 1:].sum((1, 2, 3)), (found + label)[:, 1:].sum((1, 2, 3))
    torch.testing.assert_close(label_distance(logits, label), entropy + 1 - (2 * shared + 1) / (total + 1))


def test_label_distance_is_each_images_own_and_has_a_gradient() -> None:
    logits, label = torch.randn(3, 1, 4, 4, requires_grad=True), torch.rand(3, 1, 4, 4)
    distance = label_distance(logits, label)
    torch.testing.assert_close(distance[1:2], label_distance(logits[1:2], label[1:2]))
    (gradient,) = torch.autograd.grad(distance[1], logits)
    assert gradient[1].abs().min() > 0 and gradient[[0, 2]].abs().max() == 0
    empty = torch.zeros(1, 1, 4, 4)
    assert label_distance(empty - 20, empty).item() == pytest.approx(0.0, abs=1e-4)
