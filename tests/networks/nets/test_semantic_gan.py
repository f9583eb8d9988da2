# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from monai_semgan.networks.blocks import StyleBlock
from monai_semgan.networks.nets import SemanticGAN


def make_network(**settings: Any) -> SemanticGAN:
    """A small network whose noise, mean w and heads act, as they do after training."""
    small = {"latent_dim": 8, "channel_base": 256, "channel_max": 16, "mapping_layers": 2}
    encoder = {"encoder_channel_max": 16, "pyramid_channels": 8, "head_channels": 8}
    network = SemanticGAN(**{"size": 16} | small | encoder | settings)
    nn.init.normal_(network.generator.mean_w)
    for module in network.generator.modules():
        if isinstance(module, StyleBlock):
            nn.init.constant_(module.noise_strength, 0.5)
    for head in network.encoder.heads:
        nn.init.normal_(head.get_parameter("linear.weight"), std=0.1)
    return network.eval()


@pytest.mark.parametrize("size, image_channels, label_channels", [(16, 1, 1), (32, 3, 4), (64, 1, 1)])
def test_forward_is_the_label_of_the_decoded_code(size: int, image_channels: int, label_channels: int) -> None:
    network = make_network(size=size, image_channels=image_channels, label_channels=label_channels)
    image = torch.randn(2, image_channels, size, size)
    logits = network(image)
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (2, label_channels, size, size)
    wplus = network.encode(image)
    assert wplus.shape == (2, network.generator.num_codes, 8)
    reconstruction, expected = network.decode(wplus)
    assert reconstruction.shape == image.shape
    assert torch.equal(logits, expected)


def test_code_is_the_mean_w_before_training() -> None:
    network = SemanticGAN(size=16, latent_dim=8, channel_base=256)
    nn.init.normal_(network.generator.mean_w)
    wplus = network.encode(torch.randn(2, 1, 16, 16))
    assert torch.equal(wplus, network.generator.mean_w.expand(2, 6, 8))


def test_logits_do_not_depend_on_the_batch() -> None:
    network, image = make_network(size=32), torch.randn(3, 1, 32, 32)
    for index in range(3):
        torch.testing.assert_close(
            network(image)[index : index + 1], network(image[index : index + 1]), rtol=1e-4, atol=1e-4
        )


def test_torchscript(tmp_path: Path) -> None:
    network, image = make_network(size=32, image_channels=3, label_channels=4), torch.randn(2, 3, 32, 32)
    torch.jit.save(torch.jit.script(network), tmp_path / "model.ts")
    scripted = torch.jit.load(tmp_path / "model.ts")
    with torch.no_grad():
        for _ in range(3):  # the first calls profile, a later one runs the optimised graph
            torch.testing.assert_close(scripted(image), network(image), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(scripted(image[:1]), network(image[:1]), rtol=1e-4, atol=1e-4)
        wplus, noise = network.encode(image), network.generator.random_noise(2)
        torch.testing.assert_close(scripted.encode(image), wplus, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(scripted.decode(wplus, noise), network.decode(wplus, noise), rtol=1e-4, atol=1e-4)
        # a scripted raise is a RuntimeError that carries the message
        with pytest.raises(Exception, match="image has shape"):
            scripted(image[:, :1])


@pytest.mark.parametrize("size", [16, 64])
def test_onnx(tmp_path: Path, size: int) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    network = make_network(size=size)
    path = tmp_path / "model.onnx"
    torch.onnx.export(
        network,
        (torch.randn(2, 1, size, size),),
        path,
        input_names=["image"],
        output_names=["pred"],
        dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
        dynamo=True,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 2, 3):
        image = torch.randn(batch, 1, size, size)
        (logits,) = session.run(None, {"image": image.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(logits, network(image).numpy(), rtol=1e-3, atol=1e-3)


def test_state_dict_is_the_inference_network() -> None:
    state = make_network().state_dict()
    parts = {"generator", "encoder", "prior", "preconditioner", "calibration", "slice_calibration"}
    assert {key.split(".")[0] for key in state} == parts
    assert not [key for key in state if "discriminator" in key]
    assert all(isinstance(value, torch.Tensor) for value in state.values())


def test_state_dict_restores_the_function() -> None:
    network, image = make_network(), torch.randn(1, 1, 16, 16)
    other = make_network()
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(image), network(image))


def test_default_at_128_px_fits_into_25_mb() -> None:
    buffer = io.BytesIO()
    torch.save(SemanticGAN(size=128).state_dict(), buffer)
    assert buffer.getbuffer().nbytes < 25e6


def test_second_order_gradient_of_the_code() -> None:
    network = make_network()
    wplus = torch.randn(2, network.generator.num_codes, 8, requires_grad=True)
    image, _ = network.decode(wplus)
    (slope,) = torch.autograd.grad((image * torch.randn_like(image)).sum(), wplus, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum((1, 2)).sqrt().sum(), wplus)
    assert second.isfinite().all()
    # all codes act, also the last one, in which the image is affine: it changes the slope of the others
    assert (second.abs().sum((0, 2)) > 0).all()


def test_settings_that_cannot_work() -> None:
    with pytest.raises(ValueError, match="size is 20"):
        SemanticGAN(size=20)
    with pytest.raises(ValueError, match="image_channels is 2"):
        SemanticGAN(size=16, image_channels=2)
