# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from monai_semgan.data.formats import VOLUME_SUFFIXES, file_format, stem, suffix


@pytest.mark.parametrize("ending", [*VOLUME_SUFFIXES, ".png", ".NII.gz", ".MHA"])
def test_names_lose_the_suffixes_of_images_and_volumes(ending: str) -> None:
    path = Path(f"1.2.840{ending}")
    assert stem(path) == "1.2.840" and suffix(path) == ending.lower()


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd"])
def test_volumes_are_no_2d_images(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"junk")
    assert file_format(path) is None
