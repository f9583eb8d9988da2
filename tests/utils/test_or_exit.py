# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest

from monai_semgan.utils import or_exit


def test_result_is_passed_on() -> None:
    assert or_exit(int, "12", base=8) == 10


def test_the_message_alone_ends_the_program() -> None:
    with pytest.raises(SystemExit, match="^error: invalid literal"):
        or_exit(int, "x")


def test_faults_of_the_program_are_not_hidden() -> None:
    with pytest.raises(TypeError):
        or_exit(int, None)
