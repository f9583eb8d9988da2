# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Training of the encoder with a frozen generator (Li et al., CVPR 2021, equations 4 to 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.utils import CommonKeys as Keys
from torch import Tensor

from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader
from monai_semgan.engines.ema import ExponentialMovingAverage
from monai_semgan.engines.extension import Answer, EncoderExtension
from monai_semgan.engines.semi_supervised_trainer import SemiSupervisedTrainer
from monai_semgan.losses import EncoderLoss
from monai_semgan.networks.label_map import map_to_label
from monai_semgan.networks.nets import SemanticGAN


class EncoderTrainer(SemiSupervisedTrainer):
    r"""Train the encoder of a :class:`SemanticGAN`, whose generator is frozen.

    With :math:`w = \bar w + E(x)`, labelled pairs :math:`(x, y)` cost Dice and cross entropy of :math:`G_y(w)` (4), all
    images the distance of :math:`G_x(w)` from x (5); their sum (6) is the loss.

    What goes beyond the paper are extensions (:class:`EncoderExtension`), which may add parts to the batch, terms to
    the loss and weights to the optimiser.

    ``state.output`` holds the floats ``loss``, ``segmentation`` and ``reconstruction``, and the extensions' losses.

    Args:
        network: generator and encoder.
        loss: the encoder's loss.
        lr: highest learning rate of Adam; it falls to 0 along a cosine over the run.
        ema_half_life: half-life in images of the weight average.
        device, max_epochs, train_data_loader, extensions, amp, train_handlers: see :class:`SemiSupervisedTrainer`.
    """

    extends = EncoderExtension
    clip = 5.0

    def __init__(
        self,
        *,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: SemiSupervisedLoader,
        network: SemanticGAN,
        loss: EncoderLoss,
        lr: float = 1e-3,
        ema_half_life: float = 2_000.0,
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
        self.network: SemanticGAN = self.to_device(network)
        self.loss = loss
        self.ema = ExponentialMovingAverage(self.network, half_life=ema_half_life)
        network.generator.requires_grad_(False)
        groups: list[dict[str, Any]] = [{"params": list(network.encoder.parameters()), "lr": lr}]
        for extension in self.extensions.values():
            groups += extension.parameter_groups(self)
        self.optimizer = torch.optim.Adam([group | {"initial_lr": group["lr"]} for group in groups], betas=(0.9, 0.99))
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
        self.set_rates(self.state.iteration - 1)
        prepared = self.prepare(batch, network.generator.label_channels)
        parts = prepared.parts
        target = torch.cat([part.image for part in parts.values()])
        sizes = [len(part.image) for part in parts.values()]
        extensions = self.extensions.values()

        with self.autocast():
            seen = target
            for extension in extensions:
                seen = extension.perturb(seen)
            wplus = network.encode(seen)
            codes = dict(zip(parts, wplus.split(sizes), strict=True))
            shown = dict(codes)
            for extension in extensions:
                extension.redraw(shown, prepared)
            reconstruction, logits = network.decode(torch.cat(list(shown.values())))
            answers = {
                name: Answer(codes[name], part_logits)
                for name, part_logits in zip(parts, logits.split(sizes), strict=True)
            }
            assert prepared.pairs.label_map is not None
            label = map_to_label(prepared.pairs.label_map)
            terms = self.loss(reconstruction, target, network, answers["pairs"].logits, label)
            total = terms.total
            added: dict[str, float] = {}
            for extension in extensions:
                value = extension.loss(prepared, answers)
                if value is not None:
                    total = total + extension.weight * value
                    added[extension.loss_name] = value.item()
        self.step(total, self.optimizer)
        self.set_rates(self.state.iteration)
        self.ema.update(len(batch["image"]))
        return self.decollate(
            {
                Keys.LOSS: total.item(),
                "segmentation": terms.segmentation.item(),
                "reconstruction": terms.reconstruction.item(),
                **added,
                Keys.IMAGE: target,
                Keys.PRED: logits.detach(),
            }
        )

    def set_rates(self, steps: int) -> None:
        r"""Set learning rates for the step after so many, :math:`\frac{1 + \cos(\pi s / S)}{2}` of the highest.

        They depend on the steps done and those of the whole run alone: they never rise, and stay 0 after its end.
        """
        share = min(steps / (self.state.max_epochs * len(self.loader)), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * (1 + math.cos(math.pi * share)) / 2
