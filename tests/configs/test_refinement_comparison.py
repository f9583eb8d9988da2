# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from configs import refinement_comparison
from configs.refinement_comparison import AuthorsInferer, AuthorsNoiseInferer, NoiseInferer
from monai_semgan.inferers import WPlusInferer, WPlusResult
from monai_semgan.networks.nets import SemanticGAN
from tests.tiny_bundle import TINY_NETWORK, tiny_bundle, tiny_data
from tests.wplus_network import make_network

SETTINGS: dict[str, Any] = {"learning_rate": 0.05, "regulariser_weight": 1e-3, "amp": False}


@pytest.fixture(scope="module")
def network() -> SemanticGAN:
    torch.manual_seed(0)
    return make_network()


@pytest.fixture(scope="module")
def images(network: SemanticGAN) -> Tensor:
    return network.generator.sample(4, generator=torch.Generator().manual_seed(1))[0]


def refine(inferer: WPlusInferer, images: Tensor, network: SemanticGAN) -> WPlusResult:
    result = inferer(images, network, return_details=True)
    assert isinstance(result, WPlusResult)
    return result


def test_noise_maps_fit_further(network: SemanticGAN, images: Tensor) -> None:
    buffers = [buffer.clone() for buffer in network.buffers()]
    fixed = refine(WPlusInferer(steps=30, **SETTINGS), images, network)
    refined = refine(NoiseInferer(steps=30, noise_learning_rate=1.0, **SETTINGS), images, network)
    assert refined.losses.mean() < 0.5 * fixed.losses.mean()
    still = refine(NoiseInferer(steps=30, noise_learning_rate=0.0, **SETTINGS), images, network)
    for same, expected in zip(still, fixed):
        torch.testing.assert_close(same, expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(before, now) for before, now in zip(buffers, network.buffers()))
    assert all(weight.grad is None for weight in network.parameters())


def test_no_steps_is_the_network(network: SemanticGAN, images: Tensor) -> None:
    result = refine(NoiseInferer(steps=0, noise_learning_rate=1.0, **SETTINGS), images, network)
    torch.testing.assert_close(result.logits, network(images).detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(result.wplus, network.encode(images).detach(), rtol=0, atol=1e-5)


def test_neighbours_do_not_matter(network: SemanticGAN, images: Tensor) -> None:
    inferer = NoiseInferer(steps=10, noise_learning_rate=1.0, **SETTINGS)
    together = refine(inferer, images, network)
    for index in range(4):
        for mine, theirs in zip(refine(inferer, images[index : index + 1], network)[:4], together[:4]):
            # roundings grow where noise maps move this fast
            torch.testing.assert_close(mine[0], theirs[index], rtol=0, atol=5e-3)


def test_the_authors_way_is_adam_as_torch_has_it(network: SemanticGAN, images: Tensor) -> None:
    inferer = AuthorsInferer(steps=3, precondition=False, **SETTINGS)
    start = network.encode(images).detach()
    codes = start.clone().requires_grad_()
    adam = torch.optim.Adam([codes], eps=1e-6)
    best = start.new_full((4,), torch.inf)
    for step in range(4):
        drawn, _ = network.decode(codes)
        losses = inferer.loss(drawn, images, network)
        best = torch.minimum(best, losses.detach())
        # three steps: the whole rise lies in the first, the fall in the last
        adam.param_groups[0]["lr"] = 0.05 * inferer.learning_rate_factor(step)
        objective = losses + 1e-3 * inferer.regulariser(codes, drawn, network)
        (codes.grad,) = torch.autograd.grad(objective.sum(), codes)
        adam.step()
    torch.testing.assert_close(refine(inferer, images, network).losses, best, rtol=1e-4, atol=1e-7)


def test_the_authors_way_with_noise_maps_has_both(network: SemanticGAN, images: Tensor) -> None:
    inferer = AuthorsNoiseInferer(steps=2, noise_learning_rate=0.1, **SETTINGS)
    assert inferer.betas == (0.9, 0.999)
    groups = inferer.moves(network.encode(images).detach(), network)
    assert [group["lr"] for group in groups] == [0.05, 0.1]
    sides = [tensor.shape[-1] for tensor in groups[1]["params"]]
    assert sides == [4, 8, 8, 16, 16] and all(len(tensor) == 4 for tensor in groups[1]["params"])


def test_loss_and_dice_are_those_of_the_masks_found() -> None:
    torch.manual_seed(0)
    network = SemanticGAN(**TINY_NETWORK).eval().requires_grad_(False)
    images = torch.rand(3, 1, 32, 32) * 2 - 1
    inferer = WPlusInferer(steps=2)
    found = inferer(images, network, return_details=True)
    labels = (found.logits > 0).float()
    result = refinement_comparison.measure(network, images, labels, inferer, batch_size=2)
    assert result["dice"] == 1 and result["seconds"] > 0
    assert result["loss"] == pytest.approx(found.losses.mean().item(), rel=1e-3)


def test_command_compares_the_ways_on_images_of_a_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Path(__file__).parents[2]
    bundle = tiny_bundle(tmp_path, repository)
    datalist = tiny_data(tmp_path / "data")
    torch.save(SemanticGAN(**TINY_NETWORK).state_dict(), tmp_path / "model.pt")
    monkeypatch.chdir(tmp_path)
    for name in ("ADAM", "ADAM_NOISE", "MATCHED", "MATCHED_NOISE"):
        monkeypatch.setattr(refinement_comparison, name, getattr(refinement_comparison, name) | {"steps": 2})
    arguments = ["--bundle", str(bundle), "--ckpt_path", "model.pt", "--datalist", str(datalist)]
    arguments += ["--dataset_dir", str(datalist.parent), "--images", "2", "--output", "out.json", "--busy"]
    assert refinement_comparison.main(arguments) == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["images"] == 2 and len(report["results"]) == 8
    assert all(set(result) == {"seconds", "loss", "dice"} for result in report["results"].values())
    # more steps redraw better than the encoder
    losses = [report["results"][name]["loss"] for name in ("encoder alone", "fast", "balanced")]
    assert losses[0] > losses[1] > losses[2]
    assert capsys.readouterr().out.count("\n") == 11
