# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import configparser
import importlib
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import metadata, version
from pathlib import Path

import pytest
import torch
import yaml

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
    folders = ("monai_semgan", "tests", "docs", "configs")
    files = [path for folder in folders for path in (repository / folder).rglob("*.py")]
    assert files
    header = ["# Copyright (c) monai-semgan contributors", "# SPDX-License-Identifier: Apache-2.0"]
    without = [str(path) for path in files if path.read_text(encoding="utf-8").splitlines()[:2] != header]
    assert not without


@pytest.fixture
def options(repository: Path) -> configparser.ConfigParser:
    """Content of setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(repository / "setup.cfg", encoding="utf-8")
    return parser


def test_wheel_holds_all_packages(options: configparser.ConfigParser, repository: Path) -> None:
    inits = (repository / "monai_semgan").rglob("__init__.py")
    folders = {".".join(path.parent.relative_to(repository).parts) for path in inits}
    named = options["options"]["packages"].split()
    assert named == sorted(folders | {"monai_semgan.bundles"})


def test_wheel_holds_all_files_that_are_no_code(options: configparser.ConfigParser, repository: Path) -> None:
    data = {package: words.split() for package, words in options["options.package_data"].items()}
    tracked = subprocess.run(
        ["git", "ls-files", "bundles", "monai_semgan"], cwd=repository, capture_output=True, text=True
    ).stdout.split("\n")
    if not any(tracked):
        pytest.skip("no git repository")
    files = [Path(name) for name in tracked if name and (repository / name).is_file() and not name.endswith(".py")]
    assert len(files) > 50
    for file in files:
        package, root = ("monai_semgan.bundles", "bundles") if file.parts[0] == "bundles" else ("", "monai_semgan")
        package = package or ".".join(file.parent.parts)
        inside = file.relative_to(root if package == "monai_semgan.bundles" else file.parent)
        patterns = data.get(package, [])
        # pathlib matches from the right: of as many parts, so that all of the path is compared
        known = any(len(inside.parts) == len(Path(p).parts) and inside.match(p) for p in patterns)
        assert known, f"{file} is in no pattern of package_data: {package} has {patterns}"


def test_make_help_names_every_target(repository: Path) -> None:
    text = (repository / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: help (.*)$", text, re.MULTILINE)[1].split())
    assert {"segment", "docs", "gpu-check", "test-wheel", "bundles"} <= targets
    assert set(re.findall(r'@echo "make ([a-z-]+)', text)) == targets - {"setup"}


def test_hooks_run_what_make_lint_runs(repository: Path) -> None:
    text = (repository / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", text, re.MULTILINE)[1]
    commands = [line.strip().replace("$(VENV)", ".venv/bin/python") for line in recipe.splitlines()]
    (local,) = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    # local hooks need no network
    assert local["repo"] == "local"
    assert [hook["entry"] for hook in local["hooks"]] == commands


def test_citation_names_this_version_and_the_paper(repository: Path) -> None:
    citation = yaml.safe_load((repository / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == monai_semgan.__version__
    assert {"message", "title", "authors"} <= citation.keys()
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Li", "Yang", "Kreis", "Torralba", "Fidler"]
    assert paper["identifiers"][0]["value"] == "arXiv:2104.05833"


def test_changelog_begins_with_this_version(repository: Path) -> None:
    text = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)[0] == monai_semgan.__version__


def test_contributing_names_files_that_exist(repository: Path) -> None:
    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert len(links) >= 5
    assert [link for link in links if not (repository / link).exists()] == []


def test_contributing_shows_the_format_as_it_is(repository: Path) -> None:
    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown, line = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[:2]
    assert shown in (repository / "monai_semgan" / "formats" / "mgh.py").read_text(encoding="utf-8")
    assert line in (repository / "monai_semgan" / "formats" / "__init__.py").read_text(encoding="utf-8")
