# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from monai_semgan.bundle import Bundle, bundle_folders
from monai_semgan.recipes import copies, differing, main


@pytest.mark.parametrize("folder", bundle_folders(), ids=lambda folder: folder.name)
def test_copies_in_bundles_are_those_of_the_package(folder: Path) -> None:
    """python -m monai_semgan.recipes bundles/* brings them up to date."""
    assert differing(Bundle(folder)) == []
    assert not [path for path in folder.rglob("*") if path.is_symlink()]


def test_what_differs_is_copied(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "some_organ"
    shutil.copytree(repository / "bundles" / "liver_ct_mri_segmentation", folder)
    configs = folder / "configs"
    (configs / "train_gan.yaml").write_text("changed")
    (configs / "labels.yaml").unlink()
    (configs / "labels.yaml").symlink_to(configs / "train_gan.yaml")
    assert sorted(differing(Bundle(folder))) == ["labels.yaml", "train_gan.yaml"]
    main([folder])
    assert "labels.yaml" in capsys.readouterr().out and differing(Bundle(folder)) == []
    assert copies(Bundle(folder))["labels.yaml"].name == "labels_volumetric.yaml"
    main([folder])
    assert capsys.readouterr().out == "some_organ: up to date\n"
