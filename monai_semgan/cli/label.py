# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""``semgan label STUDIES``."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("studies", help="folder of images, or the address of a DICOMweb server")
    parser.add_argument("--bundles", nargs="+", metavar="BUNDLE", help="folders or names; None: all that came along")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; the default: this machine alone")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on")
    parser.add_argument("--work-dir", default="output/label", help="folder of logs")
    parser.add_argument("--hosts", default="", help="names by which the server may be called too, with commas")
    parser.add_argument("--origins", default="", help="web pages that may use the server, as https://host with commas")


def run(options: argparse.Namespace) -> int | None:
    """Run the command."""
    from monai_semgan.label_app.start import start

    start(
        options.studies,
        options.bundles,
        host=options.host,
        port=options.port,
        work_dir=options.work_dir,
        origins=options.origins,
        hosts=options.hosts,
    )
    return None
