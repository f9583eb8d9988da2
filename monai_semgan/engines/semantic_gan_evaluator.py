# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Inference and evaluation in which one bad image does not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Events
from monai.data import decollate_batch
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.transforms import Transform
from monai.utils import CommonKeys as Keys
from monai.utils import convert_to_tensor
from torch import Tensor

from monai_semgan.data.failure import FAILURE, failure_reason
from monai_semgan.inferers import SliceWiseInferer, WPlusInferer, WPlusResult
from monai_semgan.utils import keep_freed_memory

logger = logging.getLogger(__name__)


class SemanticGANEvaluator(SupervisedEvaluator):
    r"""A ``SupervisedEvaluator`` that knows :class:`monai_semgan.inferers.WPlusInferer`, and items that fail.

    After an iteration ``state.batch`` and ``state.output`` are lists of the items that went well. An output holds
    "image", "label" (if there is one) and "pred", and with a ``WPlusInferer`` "reconstruction" and
    "reconstruction_error", :math:`\sqrt{\mathrm{mean}((x - G_x(w^+))^2)}` over the network's input in [-1, 1]; further
    "pred" after postprocessing and whatever else that adds. ``state.failures`` lists the items that did not: their
    dataset, the network or the postprocessing failed, and "failure" tells why. When a whole batch fails, its images
    are tried one at a time. (A metric attached to the engine fails on an iteration in which every item failed.)

    Args:
        device: device to run on.
        val_data_loader: gives batches of stacked items, or lists of single items (``collate_fn=no_collation``), which
            may hold "failure" as :class:`monai_semgan.data.CohortDataset` has it, and labels of any size.
        network: the network, such as :class:`monai_semgan.networks.nets.SemanticGAN`.
        postprocessing: transforms of an item, run on the CPU.
        record_failures: record an error and go on; otherwise it is raised.
        val_handlers: handlers to attach.
        kwargs: all else that ``SupervisedEvaluator`` takes, but ``decollate`` (batches are always taken apart).
    """

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: Any,
        network: torch.nn.Module,
        *,
        postprocessing: Transform | None = None,
        record_failures: bool = False,
        val_handlers: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.item_postprocessing = postprocessing
        self.record_failures = record_failures
        keep_freed_memory(device)
        super().__init__(
            device=torch.device(device),
            val_data_loader=val_data_loader,
            network=network,
            val_handlers=val_handlers,
            decollate=False,
            **kwargs,
        )

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]
        """Run the evaluation.

        Args:
            global_epoch: epoch of the training that it belongs to, 1 without one.
        """
        if len(self.data_loader) == 0:  # type: ignore[arg-type]
            # ignite refuses to iterate over nothing; handlers still begin and complete their files
            self.fire_event(Events.STARTED)
            self.fire_event(Events.COMPLETED)
            return
        super().run(global_epoch)

    def _iteration(self, engine: SemanticGANEvaluator, batchdata: Any) -> list[dict[str, Any]]:  # type: ignore[override]
        items = batchdata if isinstance(batchdata, list) else decollate_batch(batchdata)
        engine.state.failures = [item for item in items if FAILURE in item]
        if engine.state.failures and not self.record_failures:
            raise RuntimeError(f"an item failed: {engine.state.failures[0][FAILURE]}")
        pairs = self._infer([item for item in items if FAILURE not in item])
        engine.state.batch = [item for item, _ in pairs]
        engine.state.output = [output for _, output in pairs]
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        pairs = self._postprocess(pairs)
        engine.state.batch = [item for item, _ in pairs]
        engine.state.output = [output for _, output in pairs]
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def _fail(self, item: dict[str, Any], error: Exception) -> None:
        """Keep the item as failed, or raise the error."""
        if not self.record_failures:
            raise error
        logger.debug("item failed", exc_info=error)
        self.state.failures.append({**item, FAILURE: failure_reason(error)})

    def _infer(self, items: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Run the network on a batch; if that fails, on its images one by one."""
        if not items:
            return []
        try:
            outputs = self._forward(items)
        except Exception as error:
            if len(items) > 1 and self.record_failures:
                return [pair for item in items for pair in self._infer([item])]
            self._fail(items[0], error)
            return []
        pairs = []
        for item, output in zip(items, outputs, strict=True):
            if torch.isfinite(output[Keys.PRED]).all():
                pairs.append((item, output))
            else:
                self._fail(item, ValueError("the network's result is NaN or infinite: are these its trained weights?"))
        return pairs

    def _forward(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        stacked = torch.stack([convert_to_tensor(item[Keys.IMAGE], track_meta=False) for item in items])
        batch = {Keys.IMAGE: stacked}
        images, _ = self.prepare_batch(batch, self.state.device, self.non_blocking, **self.to_kwargs)[:2]
        reconstruction: Tensor | None = None
        with self.mode(self.network), torch.autocast(self.state.device.type, enabled=self.amp, **self.amp_kwargs):
            inner = self.inferer.inferer if isinstance(self.inferer, SliceWiseInferer) else self.inferer
            if isinstance(inner, WPlusInferer):
                result = self.inferer(images, self.network, return_details=True)
                assert isinstance(result, WPlusResult)
                pred, reconstruction = result.logits, result.reconstruction
            else:
                pred = self.inferer(images, self.network)
        outputs: list[dict[str, Any]] = []
        for index, item in enumerate(items):
            # Invertd passes over a prediction that tracks no metadata
            logits = convert_to_tensor(pred[index].detach().float().cpu(), track_meta=True)
            output: dict[str, Any] = {Keys.IMAGE: item[Keys.IMAGE], Keys.PRED: logits}
            if Keys.LABEL in item:
                output[Keys.LABEL] = item[Keys.LABEL]
            if reconstruction is not None:
                drawn = reconstruction[index].detach().float().cpu()
                output["reconstruction"] = drawn
                output["reconstruction_error"] = (drawn - stacked[index].float().cpu()).square().mean().sqrt().item()
            outputs.append(output)
        return outputs

    def _postprocess(
        self, pairs: list[tuple[dict[str, Any], dict[str, Any]]]
    ) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        if self.item_postprocessing is None:
            return pairs
        done = []
        for item, output in pairs:
            try:
                output = self.item_postprocessing({**item, **output})  # type: ignore[assignment]
            except Exception as error:
                self._fail(item, error)
            else:
                done.append((item, output))
        return done
