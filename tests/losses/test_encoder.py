# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from monai_semgan.losses.encoder import EncoderLoss
from monai_semgan.losses.reconstruction import ReconstructionLoss
from monai_semgan.networks.nets import SemanticGAN


def dice_loss(probability: Tensor, label: Tensor) -> Tensor:
    """Soft Dice loss, mean over images and channels, written from its formula."""
    both = (probability * label).sum((2, 3))
    each = probability.sum((2, 3)) + label.sum((2, 3))
    return (1.0 - (2.0 * both + 1e-5) / (each + 1e-5)).mean()


def drawn_and_image() -> tuple[Tensor, Tensor]:
    drawn, image = torch.rand(2, 5, 1, 16, 16) * 2 - 1
    return drawn, image


def test_binary_segmentation_is_dice_and_binary_cross_entropy() -> None:
    drawn, image = drawn_and_image()
    logits, label = torch.randn(3, 1, 16, 16), (torch.rand(3, 1, 16, 16) > 0.5).float()
    loss = EncoderLoss("none", dice_weight=2.0, cross_entropy_weight=0.5)
    terms = loss(drawn, image, logits=logits, label=label)
    probability = logits.sigmoid()
    entropy = -(label * probability.log() + (1 - label) * (1 - probability).log()).mean()
    torch.testing.assert_close(terms.segmentation, 2.0 * dice_loss(probability, label) + 0.5 * entropy)
    torch.testing.assert_close(terms.reconstruction, 0.1 * (drawn - image).square().mean())
    torch.testing.assert_close(terms.total, terms.segmentation + terms.reconstruction)


def test_classes_as_indices_or_one_hot() -> None:
    drawn, image = drawn_and_image()
    logits, index = torch.randn(3, 4, 16, 16), torch.randint(4, (3, 1, 16, 16))
    one_hot = F.one_hot(index[:, 0], 4).permute(0, 3, 1, 2).float()
    expected = dice_loss(logits.softmax(1), one_hot) + F.cross_entropy(logits, index[:, 0])
    for label in (index, one_hot):
        torch.testing.assert_close(EncoderLoss("none")(drawn, image, None, logits, label).segmentation, expected)


def test_unlabelled_batch_has_reconstruction_alone() -> None:
    drawn, image = drawn_and_image()
    terms = EncoderLoss("none")(drawn, image)
    assert terms.segmentation == 0 and terms.total == terms.reconstruction


def test_reconstruction_is_the_mean_over_images() -> None:
    network = SemanticGAN(size=16, latent_dim=8, channel_base=128, channel_max=8, encoder_channel_max=16)
    drawn, image = drawn_and_image()
    terms = EncoderLoss("encoder", perceptual_weight=2.0, l2_weight=3.0)(drawn, image, network)
    per_image = ReconstructionLoss("encoder", perceptual_weight=2.0, l2_weight=3.0)(drawn, image, network)
    torch.testing.assert_close(terms.reconstruction, per_image.mean())


def test_gradient_reaches_the_encoder_through_its_codes_only() -> None:
    network = SemanticGAN(size=16, latent_dim=8, channel_base=128, channel_max=8, encoder_channel_max=16)
    network.generator.requires_grad_(False)
    with torch.no_grad():
        for head in network.encoder.heads:
            head.linear.weight.normal_(std=0.1)
    trainable = [name for name, weight in network.named_parameters() if weight.requires_grad]
    image = torch.rand(2, 1, 16, 16) * 2 - 1
    loss = EncoderLoss("encoder", l2_weight=0.0)

    detached = loss(network.decode(network.encode(image))[0].detach(), image, network)
    assert not detached.total.requires_grad
    drawn, _ = network.decode(network.encode(image))
    loss(drawn, image, network).total.backward()
    assert all(weight.grad is not None for weight in network.encoder.heads.parameters())
    assert [name for name, weight in network.named_parameters() if weight.requires_grad] == trainable
    assert all(weight.grad is None for weight in network.generator.parameters())


@pytest.mark.parametrize("given", ["logits", "label"])
def test_logits_and_label_come_together(given: str) -> None:
    drawn, image = drawn_and_image()
    with pytest.raises(ValueError, match="together"):
        EncoderLoss("none")(drawn, image, **{given: torch.zeros(1, 1, 16, 16)})
