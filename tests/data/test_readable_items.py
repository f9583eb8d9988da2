# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging

import pytest

from monai_semgan.data import readable_items


def test_items_that_fail_are_told_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    def double(item: dict[str, int]) -> dict[str, int]:
        if item["image"] == 2:
            raise ValueError("two is odd")
        return {"image": 2 * item["image"]}

    with caplog.at_level(logging.WARNING):
        assert readable_items([{"image": value} for value in (1, 2, 3)], double) == [{"image": 2}, {"image": 6}]
    assert "left out: two is odd" in caplog.text
