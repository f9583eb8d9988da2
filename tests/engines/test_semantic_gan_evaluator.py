# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.data.utils import no_collation
from monai.engines.utils import IterationEvents
from monai.handlers import MeanDice, from_engine
from monai.inferers import SimpleInferer
from monai.transforms import AsDiscreted, Lambdad
from torch import nn

from monai_semgan.data import FAILURE
from monai_semgan.engines import SemanticGANEvaluator
from monai_semgan.inferers import SliceWiseInferer, WPlusInferer
from monai_semgan.networks.nets import SemanticGAN


class Threshold(nn.Module):
    """Logits are the image; an image with a value above 5 cannot be processed, one above 2 gives NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(image))
        if (image > 5).any():
            raise RuntimeError("out of memory")
        return torch.where(image > 2, torch.nan, image)


def evaluator(items: list[dict[str, Any]], network: nn.Module, **settings: Any) -> SemanticGANEvaluator:
    settings.setdefault("record_failures", True)
    collate_fn = settings.pop("collate_fn", no_collation)
    loader = DataLoader(Dataset(items), batch_size=4, num_workers=0, collate_fn=collate_fn)
    return SemanticGANEvaluator("cpu", loader, network, **settings)


def image(value: float) -> torch.Tensor:
    return torch.full((1, 4, 4), value)


def test_reconstruction_and_its_error() -> None:
    network = SemanticGAN(size=16, latent_dim=8, channel_base=64, channel_max=8)
    images = torch.rand(3, 1, 16, 16) * 2 - 1
    inferer = WPlusInferer(steps=1)
    engine = evaluator([{"image": image} for image in images], network, inferer=inferer)
    engine.run()
    expected = inferer(images, network, return_details=True)
    for index, output in enumerate(engine.state.output):
        torch.testing.assert_close(output["pred"].as_tensor(), expected.logits[index])
        torch.testing.assert_close(output["reconstruction"], expected.reconstruction[index])
        rms = torch.nn.functional.mse_loss(expected.reconstruction[index], images[index]) ** 0.5
        assert output["reconstruction_error"] == pytest.approx(rms.item(), rel=1e-5)
        assert "label" not in output


def test_volumes_slice_by_slice() -> None:
    network = SemanticGAN(size=16, latent_dim=8, channel_base=64, channel_max=8)
    volume = torch.rand(1, 16, 16, 3) * 2 - 1
    for inner, redrawn in ((WPlusInferer(steps=0), True), (SimpleInferer(), False)):
        engine = evaluator([{"image": volume}], network, inferer=SliceWiseInferer(inner), record_failures=False)
        engine.run()
        (output,) = engine.state.output
        expected = network(volume.movedim(-1, 0)).movedim(0, -1).detach()
        torch.testing.assert_close(output["pred"].as_tensor(), expected, rtol=1e-5, atol=1e-5)
        assert ("reconstruction" in output) == redrawn


def test_failures_are_recorded_and_the_others_go_on() -> None:
    network = Threshold()
    items = [{"image": image(v), "name": str(v)} for v in (1.0, 9.0, 3.0)] + [
        {"name": "unread", FAILURE: "no such file"}
    ]
    engine = evaluator(items, network, postprocessing=AsDiscreted("pred", threshold=0.5))
    seen = []
    engine.add_event_handler(IterationEvents.MODEL_COMPLETED, lambda e: seen.append(len(e.state.output)))
    engine.run()
    assert [item["name"] for item in engine.state.batch] == ["1.0"]
    assert torch.equal(engine.state.output[0]["pred"].as_tensor(), image(1.0))
    assert "reconstruction" not in engine.state.output[0]
    reasons = {item["name"]: item[FAILURE] for item in engine.state.failures}
    assert reasons == {
        "unread": "no such file",
        "9.0": "RuntimeError: out of memory",
        "3.0": "the network's result is NaN or infinite: are these its trained weights?",
    }
    # the batch, then one by one
    assert network.batches == [3, 1, 1, 1]
    assert seen == [1]


def test_failure_of_postprocessing() -> None:
    def refuse(pred: torch.Tensor) -> torch.Tensor:
        if pred.max() > 1:
            raise OSError("disk full")
        return pred

    engine = evaluator(
        [{"image": image(1.0)}, {"image": image(1.5)}], Threshold(), postprocessing=Lambdad("pred", refuse)
    )
    engine.run()
    assert len(engine.state.output) == 1
    assert engine.state.failures[0][FAILURE] == "OSError: disk full"


def test_all_items_may_fail() -> None:
    engine = evaluator([{FAILURE: "a"}, {FAILURE: "b"}], Threshold())
    engine.run()
    assert engine.state.output == [] and len(engine.state.failures) == 2


@pytest.mark.parametrize("item", [{"image": image(9.0)}, {"image": image(3.0)}, {FAILURE: "broken"}])
def test_errors_are_raised_unless_recorded(item: dict[str, Any]) -> None:
    with pytest.raises((RuntimeError, ValueError), match="out of memory|NaN|broken"):
        evaluator([item], Threshold(), record_failures=False).run()


def test_stacked_batches_and_metrics_work_as_in_monai() -> None:
    items = [{"image": image(1.0), "label": image(1.0)}, {"image": image(-1.0), "label": image(1.0)}]
    metric = MeanDice(include_background=True, output_transform=from_engine(["pred", "label"]))
    engine = evaluator(
        items,
        Threshold(),
        collate_fn=None,
        record_failures=False,
        postprocessing=AsDiscreted("pred", threshold=0.0),
        key_val_metric={"dice": metric},
    )
    engine.run()
    assert engine.state.metrics["dice"] == pytest.approx(0.5)
