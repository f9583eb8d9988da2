# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import socket
from pathlib import Path

import lpips
import pytest
import torch
import torchvision
from torch import Tensor, nn

from monai_semgan.losses.perceptual import BACKBONE_FILES, PerceptualDistance, load_lpips
from monai_semgan.networks.nets import SemanticGAN


def network(channels: int = 1) -> SemanticGAN:
    return SemanticGAN(
        size=16, image_channels=channels, latent_dim=8, channel_base=128, channel_max=8, encoder_channel_max=16
    )


@pytest.fixture
def squeeze_weights(tmp_path: Path) -> Path:
    """Random weights of squeeze (5 MB, alex has 240 and vgg 530) in the file layout that torchvision publishes."""
    path = tmp_path / "squeeze.pth"
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), path)
    return path


class Lookup(nn.Module):
    """A network whose encoder's features are the image and its mirror image."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = self

    def features(self, image: Tensor) -> list[Tensor]:
        return [image, 2.0 * image[..., ::2, ::2]]


def test_encoder_distance_is_lpips_without_learned_weights() -> None:
    net, distance = network(), PerceptualDistance("encoder")
    image, target = torch.rand(2, 3, 1, 16, 16) * 2 - 1
    expected = torch.zeros(3)
    maps = list(zip(net.encoder.features(image), net.encoder.features(target)))
    for mine, theirs in maps:
        for b in range(3):
            for i in range(mine.shape[2]):
                for j in range(mine.shape[3]):
                    x, y = mine[b, :, i, j], theirs[b, :, i, j]
                    expected[b] += (x / x.norm() - y / y.norm()).square().sum() / mine[0, 0].numel() / len(maps)
    found = distance(image, distance.features(target, net), net)
    torch.testing.assert_close(found, expected)


def test_encoder_distance_closed_form() -> None:
    # unit vectors (0.6, 0.8) and (0, 1) at every place of both levels: 0.36 + 0.04
    image = torch.tensor([3.0, 4.0])[None, :, None, None].expand(1, 2, 4, 4)
    target = torch.tensor([0.0, 5.0])[None, :, None, None].expand(1, 2, 4, 4)
    distance, net = PerceptualDistance("encoder"), Lookup()
    torch.testing.assert_close(distance(image, distance.features(target, net), net), torch.tensor([0.4]))
    torch.testing.assert_close(distance(image, distance.features(image, net), net), torch.tensor([0.0]))


def test_gradient_is_finite_where_all_features_vanish() -> None:
    image = torch.zeros(1, 2, 4, 4, requires_grad=True)
    distance, net = PerceptualDistance("encoder"), Lookup()
    distance(image, distance.features(torch.ones(1, 2, 4, 4), net), net).sum().backward()
    assert image.grad is not None and image.grad.isfinite().all()


def test_none_is_zero_and_needs_no_network() -> None:
    distance = PerceptualDistance("none")
    image = torch.rand(3, 1, 16, 16)
    assert distance.features(image) == []
    assert distance(image, []).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("channels", [1, 3])
def test_lpips_agrees_with_the_package(squeeze_weights: Path, channels: int) -> None:
    distance = PerceptualDistance("lpips", net="squeeze", weights_path=squeeze_weights)
    image, target = torch.rand(2, 4, channels, 32, 32) * 2 - 1
    package = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    backbone = torchvision.models.squeezenet1_1(weights=None)
    backbone.load_state_dict(torch.load(squeeze_weights, weights_only=True))
    for piece in (getattr(package.net, f"slice{k}") for k in range(1, 8)):
        for index, layer in piece.named_children():
            layer.load_state_dict(backbone.features[int(index)].state_dict())
    expected = package(image.expand(-1, 3, -1, -1), target.expand(-1, 3, -1, -1)).flatten()
    assert expected.min() > 0
    torch.testing.assert_close(distance(image, distance.features(target)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["encoder", "lpips"])
def test_images_are_not_changed(squeeze_weights: Path, kind: str) -> None:
    # MONAI's perceptual loss rescales RGB images in place
    distance = PerceptualDistance(kind, net="squeeze", weights_path=squeeze_weights)
    net = SemanticGAN(size=32, image_channels=3, latent_dim=8, channel_base=128, channel_max=8, encoder_channel_max=16)
    image, target = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    image.requires_grad_()
    before = image.detach().clone(), target.clone()
    features = distance.features(target, net)
    kept = [level.clone() for level in features]
    first = distance(image, features, net)
    first.sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert torch.equal(image, before[0]) and torch.equal(target, before[1])
    assert all(torch.equal(a, b) for a, b in zip(features, kept))
    assert torch.equal(distance(image, features, net), first)


def test_lpips_leaves_random_state_checkpoint_and_weights_alone(squeeze_weights: Path) -> None:
    distance = PerceptualDistance("lpips", net="squeeze", weights_path=squeeze_weights)
    image = torch.rand(1, 1, 32, 32)
    state = torch.get_rng_state()
    distance.features(image)
    assert torch.equal(torch.get_rng_state(), state)
    assert not distance.state_dict() and not list(distance.parameters())
    model = load_lpips("squeeze", str(squeeze_weights), "cpu")
    assert not model.training and not any(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("net", sorted(BACKBONE_FILES))
def test_missing_weights_name_the_file_and_its_place(net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("network use")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    distance = PerceptualDistance("lpips", net=net)
    place = str(tmp_path / "hub" / "checkpoints" / BACKBONE_FILES[net])
    with pytest.raises(FileNotFoundError) as caught:
        distance.features(torch.zeros(1, 1, 32, 32))
    assert place in str(caught.value) and "weights_path" in str(caught.value)


def test_weights_come_from_the_torch_cache(
    squeeze_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "hub" / "checkpoints" / BACKBONE_FILES["squeeze"]
    place.parent.mkdir(parents=True)
    squeeze_weights.rename(place)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    features = PerceptualDistance("lpips", net="squeeze").features(torch.rand(1, 1, 32, 32))
    assert len(features) == 7


def test_file_of_another_backbone_is_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    distance = PerceptualDistance("lpips", net="squeeze", weights_path=tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not hold squeeze weights.*features\.0\.bias is missing"):
        distance.features(torch.zeros(1, 1, 32, 32))


@pytest.mark.parametrize(
    ("settings", "message"), [({"kind": "vgg"}, "kind is 'vgg'"), ({"net": "vit"}, "net is 'vit'")]
)
def test_unknown_settings(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PerceptualDistance(**settings)


@pytest.mark.parametrize("shape", [(1, 2, 32, 32), (1, 1, 16, 16), (1, 32, 32)])
def test_images_that_lpips_cannot_take(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="LPIPS .squeeze. needs"):
        PerceptualDistance("lpips", net="squeeze").features(torch.zeros(shape))


def test_encoder_kind_without_network() -> None:
    with pytest.raises(ValueError, match="give the network"):
        PerceptualDistance("encoder").features(torch.zeros(1, 1, 16, 16))
