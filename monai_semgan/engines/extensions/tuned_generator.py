# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A generator that learns beside the encoder."""

from __future__ import annotations

from typing import Any

from monai_semgan.engines.extension import EncoderExtension


class TunedGenerator(EncoderExtension):
    """Let the synthesis network learn, which the paper freezes; a generator from few images may not redraw real ones.

    The mapping network stays as it is. Ablation rows: label rate, generator rate.

    Args:
        label_lr: learning rate of the tSeg branches, which learn from the labelled pairs; 0 keeps them.
        generator_lr: learning rate of the rest of the synthesis network, which then learns to redraw real images; 0
            keeps it.

    Raises:
        ValueError: for a negative rate.
    """

    def __init__(self, *, label_lr: float = 0.0, generator_lr: float = 0.0) -> None:
        if min(label_lr, generator_lr) < 0:
            raise ValueError(f"label_lr {label_lr} and generator_lr {generator_lr} must not be negative")
        self.label_lr = label_lr
        self.generator_lr = generator_lr

    def parameter_groups(self, trainer: Any) -> list[dict[str, Any]]:
        """The weights of each rate above 0, which get gradients from here on."""
        synthesis = [
            item for item in trainer.network.generator.named_parameters() if not item[0].startswith("mapping.")
        ]
        branches = [weight for name, weight in synthesis if "to_label." in name]
        rest = [weight for name, weight in synthesis if "to_label." not in name]
        return [
            {"params": [weight.requires_grad_() for weight in weights], "lr": rate}
            for weights, rate in ((branches, self.label_lr), (rest, self.generator_lr))
            if rate
        ]
