# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Where to compute in bf16."""

from __future__ import annotations

import torch

WORDS: dict[str, bool | str] = {
    "true": True,
    "yes": True,
    "1": True,
    "false": False,
    "no": False,
    "0": False,
    "auto": "auto",
}


def has_bf16(device: torch.device) -> bool:
    """Whether a CPU or GPU has instructions for bf16; without, it is emulated and slower than fp32.

    The answer depends on the processor alone and not on a measurement, so that runs repeat.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # older versions of torch cannot tell
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    return False


def read_amp(amp: bool | str) -> bool | str:
    """Understand a setting of autocast, which may be text from a command line.

    Args:
        amp: a bool, ``"auto"``, or one of the texts true, false, yes, no, 1 and 0, in any case.

    Returns:
        True, False or ``"auto"``.

    Raises:
        ValueError: for anything else.
    """
    word = str(amp).strip().lower()
    if word not in WORDS:
        raise ValueError(f"amp is {amp!r}, it must be one of {', '.join(WORDS)}")
    return WORDS[word]


def bf16_autocast(device: torch.device, amp: bool | str) -> torch.autocast:
    """Autocast to bf16, or none, whatever surrounds it.

    Args:
        device: where the computation runs.
        amp: whether to take bf16, as :func:`read_amp` understands it; ``"auto"`` takes it where :func:`has_bf16`.

    Raises:
        ValueError: for another ``amp``.
    """
    amp = read_amp(amp)
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device) if amp == "auto" else bool(amp))
