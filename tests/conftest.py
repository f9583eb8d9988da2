# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Settings and fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

# before torch is imported, and inherited by the commands that tests start: tiny networks gain nothing from threads
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent

settings.register_profile("monai_semgan", deadline=None, database=None, derandomize=True, max_examples=25)
settings.load_profile("monai_semgan")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images named by SEMGAN_DATA; a test that asks for it is skipped where there is none."""
    folder = Path(os.environ.get("SEMGAN_DATA", REPOSITORY.parent / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}: set SEMGAN_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository, which holds bundles/ and configs/."""
    return REPOSITORY
