# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Start MONAI Label's server with this project's app."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import psutil

from monai_semgan.bundle import Bundle, bundle_folders

LOOPBACK, EVERYWHERE = ("127.0.0.1", "localhost", "[::1]"), ("0.0.0.0", "::")
INET = (socket.AF_INET, socket.AF_INET6)
MAIN = "from monai_semgan.label_app.main import SemanticGANApp  # noqa: F401\n"


def start(
    studies: str,
    bundles: Iterable[str] | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    work_dir: str | os.PathLike[str] = "output/label",
    origins: str = "",
    hosts: str = "",
) -> NoReturn:
    """Make the app's folder and become the server.

    Args:
        studies: folder of images, or the address of a DICOMweb server.
        bundles: folders, or names of those that came with the package; by default all of these.
        host: address to listen on.
        port: port to listen on.
        work_dir: folder of logs.
        origins: web pages that may use the server, as ``https://host`` with commas between.
        hosts: names by which the server may be called besides this machine's own, with commas between.

    Raises:
        FileNotFoundError: when there is no such bundle.
        ValueError: when there is no such folder of studies, two bundles have one name, or MONAI Label is not installed.
    """
    if not studies.startswith(("http://", "https://")) and not Path(studies).is_dir():
        raise ValueError(f"studies {studies} is no folder: name the folder that holds the images")
    opened = open_bundles(bundle_folders() if bundles is None else bundles)
    if importlib.util.find_spec("monailabel") is None:
        raise ValueError(
            'MONAI Label is not installed here: see docs/annotate.md, or pip install "monai-semgan[label]"'
        )
    for bundle in opened.values():
        if lacking := bundle.lacking():
            print(f"left out: {lacking}", file=sys.stderr, flush=True)
    app = Path(work_dir).resolve()
    app.mkdir(parents=True, exist_ok=True)
    (app / "main.py").write_text(MAIN, encoding="utf-8")
    roots = json.dumps([str(bundle.root) for bundle in opened.values()])
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(app), "--studies", studies]
    command += ["--conf", "bundles", roots, "--conf", "origins", origins, "--host", host, "--port", str(port)]
    command += ["--conf", "hosts", ",".join(trusted(host, hosts))]
    command += ["--uvicorn_app", "monai_semgan.label_app.server:app"]
    print(f"MONAI Label on http://{host}:{port}, log in {app / 'logs'}", flush=True)
    os.execv(sys.executable, command)


def open_bundles(paths: Iterable[str | os.PathLike[str]]) -> dict[str, Bundle]:
    """Open bundles, folders or names of those that came with the package, by their names.

    Raises:
        FileNotFoundError: when there is no such bundle.
        ValueError: when there is none, or two have one name.
    """
    opened: dict[str, Bundle] = {}
    for bundle in map(Bundle, paths):
        if opened.get(bundle.name, bundle).root != bundle.root:
            raise ValueError(
                f"bundles {opened[bundle.name].root} and {bundle.root} have one name, by which models are told apart: "
                "rename one"
            )
        opened[bundle.name] = bundle
    if not opened:
        raise ValueError("no bundles: name their folders")
    return opened


def trusted(host: str, named: str = "") -> list[str]:
    """Names by which a server may be called: requests that call it by another were led here by somebody else.

    Args:
        host: address that it listens on.
        named: others, with commas between.
    """
    own = [] if host in LOOPBACK else [socket.gethostname(), socket.getfqdn(), *addresses()]
    known = [*LOOPBACK, *own, *([] if host in EVERYWHERE else [host]), *filter(None, map(str.strip, named.split(",")))]
    return list(dict.fromkeys(known))


def addresses() -> list[str]:
    """Addresses of this machine."""
    return [
        one.address.partition("%")[0] for own in psutil.net_if_addrs().values() for one in own if one.family in INET
    ]
