# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Whether a processor computes in bf16."""

from __future__ import annotations

import torch


def has_bf16(device: torch.device) -> bool:
    """Whether the processor has instructions for bf16; without, it is emulated and slower than fp32.

    The answer depends on the processor alone and not on a measurement, so that runs repeat.

    Args:
        device: a CPU or a GPU.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # older versions of torch cannot tell
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    return False
