# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from monai_semgan.bundle import bundle_folders
from monai_semgan.label_app.start import LOOPBACK, open_bundles, start, trusted
from tests.tiny_bundle import tiny_bundle

LUNG = "lung_xray_segmentation"


def test_bundles_are_opened_by_name_and_folder(tmp_path: Path, repository: Path) -> None:
    bundle = tiny_bundle(tmp_path, repository)
    opened = open_bundles([bundle, "lung_xray", bundle])
    assert {name: found.root for name, found in opened.items()} == {
        "tiny": bundle.resolve(),
        LUNG: repository / "bundles" / LUNG,
    }


def test_bundles_of_one_name_are_refused(tmp_path: Path, repository: Path) -> None:
    bundle = tiny_bundle(tmp_path, repository)
    other = tmp_path / "other" / "tiny"
    shutil.copytree(bundle, other)
    with pytest.raises(ValueError, match=f"{bundle} and {other} have one name"):
        open_bundles([bundle, other])
    with pytest.raises(ValueError, match="no bundles"):
        open_bundles([])
    with pytest.raises(FileNotFoundError, match="bundle nowhere is no folder"):
        open_bundles(["nowhere"])


def test_the_process_becomes_the_server_of_all_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[Sequence[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, command: called.append(command))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    start(str(tmp_path), port=8123, work_dir=tmp_path / "app", origins="https://a.org")
    (command,) = called
    conf = {command[index + 1]: command[index + 2] for index, word in enumerate(command) if word == "--conf"}
    assert json.loads(conf["bundles"]) == list(map(str, bundle_folders())) and conf["origins"] == "https://a.org"
    assert command[command.index("--port") + 1] == "8123" and command[command.index("--host") + 1] == "127.0.0.1"
    assert conf["hosts"] == ",".join(LOOPBACK)
    assert "SemanticGANApp" in (tmp_path / "app" / "main.py").read_text()
    # those that lack weights are told
    lacking = [path for path in bundle_folders() if not (path / "models" / "model.pt").is_file()]
    told = capsys.readouterr().err
    assert told.count("left out: ") == len(lacking) and all(str(path / "models") in told for path in lacking)


def test_what_cannot_be_served_is_told_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="studies nowhere is no folder"):
        start("nowhere")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="MONAI Label is not installed"):
        start(str(tmp_path), ["lung_xray"])


def test_a_server_may_be_called_by_its_machines_names_and_those_given() -> None:
    assert trusted("127.0.0.1") == list(LOOPBACK)
    open_to_all = trusted("0.0.0.0", "label.hospital.org, label")
    assert {*LOOPBACK, socket.gethostname(), "label.hospital.org", "label"} <= set(open_to_all)
    assert not {"0.0.0.0", "*", ""} & set(open_to_all)
    assert "10.1.2.3" in trusted("10.1.2.3")
