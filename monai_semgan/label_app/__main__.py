# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Start MONAI Label's server with this project's app: ``python -m monai_semgan.label_app --studies DIR``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from monai_semgan.label_app.bundle_folder import find_bundles, no_weights, versions

MAIN = "from monai_semgan.label_app.main import SemanticGANApp  # noqa: F401\n"


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line, and end the program with words where it cannot be followed."""
    parser = argparse.ArgumentParser(prog="python -m monai_semgan.label_app", description=__doc__.split(":")[0])
    parser.add_argument("--studies", required=True, help="folder of images, or the address of a DICOMweb server")
    parser.add_argument("--models", required=True, help="folders of bundles, with commas between")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s: this machine alone)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (%(default)s)")
    parser.add_argument("--work_dir", type=Path, default=Path("output/label"), help="folder of logs (%(default)s)")
    parser.add_argument("--origins", default="", help="web pages that may use the server, as https://host with commas")
    options = parser.parse_args(arguments)
    if not options.studies.startswith(("http://", "https://")) and not Path(options.studies).is_dir():
        parser.error(f"studies {options.studies} is no folder: name the folder that holds the images")
    try:
        bundles = find_bundles(options.models)
    except ValueError as error:
        parser.error(str(error))
    for path in bundles.values():
        if not versions(path):
            print(f"left out: {no_weights(path)}", file=sys.stderr, flush=True)
    options.models = ",".join(map(str, bundles.values()))
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the app's folder and become the server."""
    options = read_arguments(arguments)
    app = options.work_dir.resolve()
    app.mkdir(parents=True, exist_ok=True)
    (app / "main.py").write_text(MAIN, encoding="utf-8")
    command = [sys.executable, "-m", "monailabel.main", "start_server"]
    command += ["--app", str(app), "--studies", options.studies, "--conf", "models", options.models]
    command += ["--conf", "origins", options.origins]
    command += ["--host", options.host, "--port", str(options.port)]
    command += ["--uvicorn_app", "monai_semgan.label_app.server:app"]
    print(f"MONAI Label on http://{options.host}:{options.port}, log in {app / 'logs'}", flush=True)
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
