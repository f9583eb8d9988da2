# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from tests.engines.test_encoder_trainer import tiny_encoder_trainer, weights


def test_label_lr_moves_the_label_branches_alone() -> None:
    trainer = tiny_encoder_trainer(label_lr=1e-3)
    before = weights(trainer.network.generator)
    trainer.run()
    moved = {
        name for name, weight in trainer.network.generator.named_parameters() if not torch.equal(weight, before[name])
    }
    assert moved and all("to_label." in name for name in moved)


def test_generator_lr_moves_all_but_the_mapping_and_the_label_branches() -> None:
    trainer = tiny_encoder_trainer(generator_lr=1e-3)
    before = weights(trainer.network.generator)
    trainer.run()
    still = {name for name, weight in trainer.network.generator.named_parameters() if torch.equal(weight, before[name])}
    assert {name for name in before if "to_label." in name or name.startswith("mapping.")} == still


def test_rates_are_not_negative() -> None:
    with pytest.raises(ValueError, match="label_lr -0.1 and generator_lr 0.0"):
        tiny_encoder_trainer(label_lr=-0.1)
