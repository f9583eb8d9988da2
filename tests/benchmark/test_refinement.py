# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from monai_semgan.benchmark import refinement
from monai_semgan.inferers import WPlusInferer
from monai_semgan.networks.nets import SemanticGAN
from tests.tiny_bundle import TINY_NETWORK, tiny_bundle, tiny_data


def test_loss_and_dice_are_those_of_the_masks_found() -> None:
    torch.manual_seed(0)
    network = SemanticGAN(**TINY_NETWORK).eval().requires_grad_(False)
    images = torch.rand(3, 1, 32, 32) * 2 - 1
    settings = {"steps": 2, "tolerance": 0.0}
    found = WPlusInferer(**settings)(images, network, return_details=True)
    labels = (found.logits > 0).float()
    result = refinement.measure(network, images, labels, settings, batch_size=2)
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
        monkeypatch.setattr(refinement, name, getattr(refinement, name) | {"steps": 2})
    arguments = ["--bundle", str(bundle), "--ckpt_path", "model.pt", "--datalist", str(datalist)]
    arguments += ["--dataset_dir", str(datalist.parent), "--images", "2", "--output", "out.json", "--busy"]
    assert refinement.main(arguments) == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["images"] == 2 and len(report["results"]) == 8
    assert all(set(result) == {"seconds", "loss", "dice"} for result in report["results"].values())
    # more steps redraw better than the encoder
    losses = [report["results"][name]["loss"] for name in ("encoder alone", "fast", "balanced")]
    assert losses[0] > losses[1] > losses[2]
    assert capsys.readouterr().out.count("\n") == 11
