# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_semgan.utils import has_bf16


@pytest.mark.parametrize(
    ("capabilities", "expected"), [({"avx2": True}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)]
)
def test_follows_the_processor(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_bf16(torch.device("cpu")) is expected


def test_a_device_of_which_nothing_is_known_computes_in_fp32() -> None:
    assert not has_bf16(torch.device("meta"))
