# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Presets of refinement: how much time an image gets."""

from __future__ import annotations

from typing import Any

# the front of validation Dice against time, docs/speed.md; learning rates are those of a fitted preconditioner
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"steps": 3, "learning_rate": 0.2},
    "balanced": {"steps": 8, "learning_rate": 0.1},
    "best": {"steps": 16, "learning_rate": 0.06},
}
COMMON: dict[str, Any] = {"warmup": 0.1, "rampdown": 0.5, "tolerance": 0.0, "amp": "auto"}


def preset_settings(name: str) -> dict[str, Any]:
    """Settings of a preset for :class:`monai_semgan.inferers.WPlusInferer`.

    Args:
        name: ``"fast"``, ``"balanced"`` or ``"best"``.

    Raises:
        ValueError: for another name.
    """
    if name not in PRESETS:
        raise ValueError(f"preset is {name!r}, it must be one of {', '.join(PRESETS)}")
    return COMMON | PRESETS[name]
