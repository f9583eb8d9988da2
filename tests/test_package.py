# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from importlib.metadata import metadata, version
from pathlib import Path

import pytest
import torch

import monai_semgan

# MONAI Label's app needs MONAI Label; its tests are in tests/label
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(monai_semgan.__path__, "monai_semgan.")
    if not module.name.startswith("monai_semgan.label_app.")
)


def test_version_is_the_installed_one() -> None:
    assert monai_semgan.__version__ == version("monai-semgan")


def test_metadata_names_supported_python() -> None:
    requires = metadata("monai-semgan")["Requires-Python"]
    assert set(requires.split(",")) == {">=3.10", "<3.13"}


@pytest.mark.parametrize("name", MODULES)
def test_module_imports_and_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public), f"{name}.__all__ names {public}, which the module does not have"


def test_torch_torchvision_and_lpips_fit_each_other() -> None:
    # a torchvision built for another torch fails at import, or lacks its compiled operators
    importlib.import_module("lpips")
    kept = importlib.import_module("torchvision").ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    assert kept.tolist() == [0]


def test_import_is_quiet_and_needs_no_network() -> None:
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise OSError('network use at import')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        f"import importlib\nfor name in {MODULES!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_every_source_file_has_the_licence_header(repository: Path) -> None:
    files = [path for folder in ("monai_semgan", "tests") for path in (repository / folder).rglob("*.py")]
    assert files
    header = ["# Copyright (c) monai-semgan contributors", "# SPDX-License-Identifier: Apache-2.0"]
    without = [str(path) for path in files if path.read_text(encoding="utf-8").splitlines()[:2] != header]
    assert not without
