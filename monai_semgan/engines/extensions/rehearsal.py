# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A generator that learns and keeps to what the GAN taught it."""

from __future__ import annotations

import copy
import itertools
from typing import Any

from torch import Tensor

from monai_semgan.engines.extension import EncoderExtension, SemiSupervisedBatch
from monai_semgan.engines.extensions.synthetic_pairs import SyntheticPairs


class Rehearsal(EncoderExtension):
    """Draw samples from a copy of the generator as the training found it, and redraw them from their true codes.

    A generator that learns (:class:`TunedGenerator`) then goes on to draw what those codes mean, at some cost of what
    it redraws; without, it knows codes of images alone, such as :class:`monai_semgan.networks.nets.WPlusPrior` gives.
    With a generator that is frozen it does nothing. It follows :class:`SyntheticPairs`. Ablation row: rehearsal.
    """

    rehearses = False

    def attach(self, trainer: Any) -> None:
        """Copy the generator.

        Raises:
            ValueError: without samples.
        """
        super().attach(trainer)
        before = itertools.takewhile(lambda extension: extension is not self, trainer.extensions.values())
        drawing = [extension for extension in before if isinstance(extension, SyntheticPairs)]
        if not drawing:
            raise ValueError("a rehearsal needs samples: give SyntheticPairs before it")
        generator = trainer.network.generator
        self.rehearses = any(weight.requires_grad for weight in generator.parameters())
        if self.rehearses:
            copied = copy.deepcopy(generator).eval().requires_grad_(False)
            for extension in drawing:
                extension.generator = copied

    def redraw(self, codes: dict[str, Tensor], batch: SemiSupervisedBatch) -> None:
        """Put the true codes in place of the encoder's."""
        if self.rehearses:
            for name, part in batch.added.items():
                if part.codes is not None:
                    codes[name] = part.codes.to(codes[name].dtype)
