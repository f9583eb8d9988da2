# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Perceptual distance of images, per image; nothing is ever downloaded."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_semgan.networks.nets import SemanticGAN

BACKBONE_FILES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
    "vgg": "vgg16-397923af.pth",
}
# below these sides in pixels the backbone's pooling leaves nothing
SMALLEST_SIDE = {"alex": 31, "squeeze": 17, "vgg": 16}


class PerceptualDistance(nn.Module):
    r"""Squared distance of deep features of two images.

    .. math:: d(x, x^*) = \sum_l \frac{1}{H_l W_l} \sum_{hw} w_l^T (\hat f_l(x) - \hat f_l(x^*))^2

    :math:`\hat f_l` is the feature map of layer l, scaled to unit length over its channels (LPIPS: Zhang et al., CVPR
    2018, arXiv:1801.03924, equation (1)).

    ``"lpips"`` takes backbone and weights :math:`w_l` of the lpips package. ``"encoder"`` takes the backbone of the
    network's own W+ encoder, all weights one, and the mean over the layers: no other file is needed. ``"none"`` is 0.

    Args:
        kind: ``"lpips"``, ``"encoder"`` or ``"none"``.
        net: backbone of ``"lpips"``: ``"vgg"``, ``"alex"`` or ``"squeeze"``.
        weights_path: the backbone's ImageNet weights as torchvision publishes them; by default
            ``hub/checkpoints/<file>`` in torch's cache ($TORCH_HOME). Read at the first use.

    Raises:
        ValueError: for an unknown kind or backbone.
    """

    def __init__(self, kind: str = "encoder", net: str = "vgg", weights_path: str | Path | None = None) -> None:
        super().__init__()
        if kind not in ("lpips", "encoder", "none"):
            raise ValueError(f"kind is {kind!r}, it must be 'lpips', 'encoder' or 'none'")
        if net not in BACKBONE_FILES:
            raise ValueError(f"net is {net!r}, it must be one of {sorted(BACKBONE_FILES)}")
        self.kind = kind
        self.net = net
        self.weights_path = weights_path

    def features(
        self, image: Tensor, network: SemanticGAN | None = None, maps: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Features of unit length over the channels; gradients reach the image, and the network's weights too.

        Args:
            image: images in [-1, 1], ``(B, 1 or 3, H, W)``; one channel is repeated for ``"lpips"``.
            network: the network whose encoder gives the features of ``"encoder"``.
            maps: what the encoder's backbone gives for the image, of a caller who has it.

        Returns:
            Feature maps in fp32, ``(B, channels, height, width)`` each; an empty list for ``"none"``.

        Raises:
            ValueError: for images that the backbone cannot take, or without the network that ``"encoder"`` needs.
            FileNotFoundError: without the weights that ``"lpips"`` needs.
        """
        if self.kind == "none":
            return []
        if self.kind == "lpips":
            maps = self.lpips_maps(image)
        elif maps is None:
            if network is None:
                raise ValueError("kind 'encoder' compares features of the network's encoder: give the network as well")
            maps = network.encoder.features(image)
        # not lpips' own normalisation, whose gradient is NaN where all channels are 0
        return [F.normalize(level.float(), dim=1, eps=1e-10) for level in maps]

    def lpips_maps(self, image: Tensor) -> Sequence[Tensor]:
        """Feature maps of the LPIPS backbone."""
        if image.dim() != 4 or image.shape[1] not in (1, 3) or min(image.shape[2:]) < SMALLEST_SIDE[self.net]:
            raise ValueError(
                f"image has shape {list(image.shape)}, LPIPS ({self.net}) needs (batch, 1 or 3, H, W) with sides of "
                f"at least {SMALLEST_SIDE[self.net]} px"
            )
        model = self.lpips_model(image.device)
        return model.net(model.scaling_layer(image.expand(-1, 3, -1, -1)))

    def lpips_model(self, device: torch.device) -> Any:
        """The LPIPS model on a device."""
        path = self.weights_path or Path(torch.hub.get_dir()) / "checkpoints" / BACKBONE_FILES[self.net]
        return load_lpips(self.net, str(path), str(device))

    def forward(
        self,
        image: Tensor,
        features: Sequence[Tensor],
        network: SemanticGAN | None = None,
        maps: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Distance of images to targets whose features are known.

        Args:
            image: images in [-1, 1], ``(B, 1 or 3, H, W)``.
            features: :meth:`features` of the targets, computed once for many calls.
            network: the network whose encoder gives the features of ``"encoder"``.
            maps: what the encoder's backbone gives for the image, of a caller who has it.

        Returns:
            Distances in fp32, ``(B,)``.
        """
        if self.kind == "none":
            return torch.zeros(image.shape[0], device=image.device)
        squared = [(mine - target).square() for mine, target in zip(self.features(image, network, maps), features)]
        if self.kind == "encoder":
            return torch.stack([level.sum(1).mean((1, 2)) for level in squared]).mean(0)
        heads = self.lpips_model(image.device).lins
        return torch.stack([head(level).float().mean((1, 2, 3)) for head, level in zip(heads, squared)]).sum(0)


# outside the module: hundreds of megabytes that several losses share and no checkpoint should hold
@functools.lru_cache(maxsize=2)
def load_lpips(net: str, path: str, device: str) -> Any:
    """Build LPIPS with the package's linear heads and a backbone of torchvision's weights, read from a file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file does not hold the weights of this backbone.
    """
    if not Path(path).is_file():
        name = BACKBONE_FILES[net]
        raise FileNotFoundError(
            f"LPIPS ({net}) needs ImageNet weights: {path} does not exist. Nothing is downloaded here: copy "
            f"https://download.pytorch.org/models/{name} there, or name your copy by weights_path. The perceptual "
            "distance 'encoder' needs no file."
        )
    import lpips  # late, it takes long to import

    # the random weights that the file replaces must not move the caller's random state
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    stored = torch.load(path, map_location="cpu", weights_only=True)
    # lpips renames torchvision's "features.0.weight" to "slice1.0.weight"
    names = {name: "features." + name.split(".", 1)[1] for name in model.net.state_dict()}
    missing = sorted(theirs for theirs in names.values() if theirs not in stored)
    if missing:
        raise ValueError(f"{path} does not hold {net} weights by torchvision's names, {missing[0]} is missing")
    model.net.load_state_dict({ours: stored[theirs] for ours, theirs in names.items()})
    return model.requires_grad_(False).eval().to(device)
