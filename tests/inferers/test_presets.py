# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_semgan.inferers import WPlusInferer
from monai_semgan.inferers.presets import PRESETS, preset_settings


def test_presets_take_more_and_more_steps() -> None:
    steps = [WPlusInferer.from_preset(name).steps for name in ("fast", "balanced", "best")]
    assert list(PRESETS) == ["fast", "balanced", "best"] and 0 < steps[0] < steps[1] < steps[2]


def test_settings_of_ones_own_go_over_the_presets() -> None:
    inferer = WPlusInferer.from_preset("best", steps=0, learning_rate=0.5, l2_weight=0.2)
    assert (inferer.steps, inferer.learning_rate, inferer.loss.l2_weight) == (0, 0.5, 0.2)
    kept = WPlusInferer.from_preset("best", steps=-1)
    assert kept.steps == preset_settings("best")["steps"] and kept.tolerance == 0


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match="preset is 'better', it must be one of fast, balanced, best"):
        WPlusInferer.from_preset("better")


def test_bf16_is_taken_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.zeros(1, 1, 4, 4)
    for known in (True, False):
        monkeypatch.setattr("monai_semgan.inferers.wplus_inferer.has_bf16", lambda device, known=known: known)
        with WPlusInferer(amp="auto").autocast(image):
            assert torch.is_autocast_enabled("cpu") == known


def test_amp_that_cannot_work() -> None:
    with pytest.raises(ValueError, match="amp is 'sometimes', it must be true, false or 'auto'"):
        WPlusInferer(amp="sometimes")
