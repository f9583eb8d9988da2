# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Training of a network that answers in one pass: the U-Net that teaches, and the student of several teachers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.utils import CommonKeys as Keys
from torch import Tensor, nn

from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader
from monai_semgan.engines.ema import ExponentialMovingAverage
from monai_semgan.engines.extension import EncoderExtension
from monai_semgan.engines.semi_supervised_trainer import SemiSupervisedTrainer
from monai_semgan.losses.encoder import EncoderLoss


class SegmenterTrainer(SemiSupervisedTrainer[EncoderExtension]):
    r"""Train a network from images to label logits on labelled pairs and, where there are, images with soft labels.

    The loss is Dice and cross entropy of both together, :math:`\ell(f(x), y)`; the soft labels are those of teachers
    (:class:`monai_semgan.data.TaughtImages`). Extensions change the batch (``prepare``) and what the network sees
    (``perturb``); nothing else of them is asked.

    Args:
        network: images ``(B, C, S, S)`` to label logits ``(B, L, S, S)``.
        label_channels: number of label channels L, 1 for a binary mask.
        lr: highest learning rate of Adam. It rises along a cosine over the first tenth of the run and falls along
            another to 0 (Smith and Topin 2019, arXiv:1708.07120).
        ema_half_life: half-life in images of the weight average.
        device, max_epochs, train_data_loader, extensions, amp, train_handlers: see :class:`SemiSupervisedTrainer`.
    """

    extends = EncoderExtension
    warmup = 0.1

    def __init__(
        self,
        *,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: SemiSupervisedLoader,
        network: nn.Module,
        label_channels: int = 1,
        lr: float = 2e-3,
        ema_half_life: float = 500.0,
        extensions: Mapping[str, EncoderExtension] | None = None,
        amp: bool | str = False,
        train_handlers: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            extensions=extensions,
            amp=amp,
            train_handlers=train_handlers,
        )
        self.network: nn.Module = self.to_device(network)
        self.label_channels = label_channels
        self.lr = lr
        self.loss = EncoderLoss()
        self.ema = ExponentialMovingAverage(self.network, half_life=ema_half_life)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=lr)
        self.attach_extensions()

    @property
    def checkpoint(self) -> dict[str, Any]:
        """Everything whose state a resumed run needs, by name, for :class:`ResumableCheckpoint`."""
        return super().checkpoint | {
            "network": self.network,
            "network_ema": self.ema.average,
            "optimizer": self.optimizer,
        }

    def _iteration(self, engine: Any, batch: dict[str, Tensor]) -> Any:
        network = self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * self.rate(self.state.iteration - 1)
        prepared = self.prepare(batch, self.label_channels)
        pairs, images = prepared.pairs, prepared.images
        assert pairs.label_map is not None
        # a moved label map has values between its classes at their borders, those of pairs are decided again
        targets = [self.decided(pairs.label_map)]
        if images.label_map is not None:
            targets.append((images.label_map + 1) / 2)
        target = torch.cat(targets)
        image = torch.cat([pairs.image, images.image])[: len(target)]
        for extension in self.extensions.values():
            image = extension.perturb(image)
        with self.autocast():
            logits = network(image)
        loss = self.loss.segment(logits, target)
        self.step(loss, self.optimizer)
        self.ema.update(len(image))
        return self.decollate({Keys.LOSS: loss.item(), Keys.IMAGE: image, Keys.PRED: logits.detach()})

    def decided(self, label_map: Tensor) -> Tensor:
        """Zeros and ones of the likeliest class, ``(B, L, H, W)``."""
        if self.label_channels == 1:
            return (label_map > 0).float()
        return torch.zeros_like(label_map).scatter_(1, label_map.argmax(1, keepdim=True), 1.0)

    def rate(self, steps: int) -> float:
        """Share of the highest learning rate after so many steps of the whole run, in [0, 1]."""
        share = steps / (self.state.max_epochs * len(self.loader))
        if share < self.warmup:
            # the first step counts already
            return (1 - math.cos(math.pi * (0.1 + 0.9 * share / self.warmup))) / 2
        return (1 + math.cos(math.pi * min(1.0, (share - self.warmup) / (1 - self.warmup)))) / 2
