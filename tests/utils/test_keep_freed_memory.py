# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import subprocess
import sys

import pytest

from monai_semgan.utils import keep_freed_memory

# page faults of a tensor of 64 MiB whose memory was in use before; alignment takes some rounds to settle
PROBE = """
import resource, torch
from monai_semgan.utils import keep_freed_memory
def faults():
    for _ in range(20):
        torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults())
assert keep_freed_memory()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the GNU C library alone is told")
def test_large_tensors_reuse_memory() -> None:
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", PROBE], capture_output=True, text=True, check=True)
    before, after = map(int, result.stdout.split())
    assert after < before / 10


def test_other_devices_and_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep_freed_memory("cuda") is False
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
