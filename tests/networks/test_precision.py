# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_semgan.networks.precision import bf16_autocast, has_bf16, read_amp

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"), [({"avx2": True}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)]
)
def test_follows_the_processor(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_bf16(CPU) is expected
    with bf16_autocast(CPU, "auto"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if expected else torch.float32)


def test_a_device_of_which_nothing_is_known_computes_in_fp32() -> None:
    assert not has_bf16(torch.device("meta"))


@pytest.mark.parametrize(
    ("amp", "expected"),
    [(True, True), ("True", True), ("yes", True), ("1", True), (1, True), ("AUTO", "auto")]
    + [(value, False) for value in (False, "false", "False", "no", "0", 0)],
)
def test_text_of_a_command_line_is_understood(amp: bool | str, expected: bool | str) -> None:
    assert read_amp(amp) is expected


@pytest.mark.parametrize("amp", [True, "false"])
def test_autocast_does_as_it_is_told_within_another_one(amp: bool | str) -> None:
    with torch.autocast("cpu", torch.bfloat16), bf16_autocast(CPU, amp):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if amp is True else torch.float32)


@pytest.mark.parametrize("amp", ["maybe", "", None, 2])
def test_anything_else_is_named_with_the_choices(amp: str) -> None:
    with pytest.raises(ValueError, match=rf"amp is {amp!r}, it must be one of true, yes, 1, false, no, 0, auto"):
        bf16_autocast(CPU, amp)
