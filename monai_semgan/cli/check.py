# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""``semgan check DATALIST``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_semgan.cli import check_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("datalist", help='JSON file with lists of {"image": path, "label": path}')
    parser.add_argument("--root", metavar="DIR", help="folder that its paths start from; None: the datalist's own")
    parser.add_argument("--lists", nargs="+", metavar="NAME", help="lists to look at; None: all")
    parser.add_argument(
        "--output", default="check", metavar="DIR", help="folder for check.html, check.csv and statistics.csv"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command; 1 where training cannot go on."""
    check_path(options.datalist, "datalist {} does not exist")
    from monai_semgan.apps.check_data import check, named_facts, write

    findings = check(options.datalist, root=options.root, lists=options.lists)
    page = write(findings, Path(options.output))
    kind = "images" if findings.spatial_dims == 2 else "volumes"
    print(f"{len(findings.facts)} {kind} in {named_facts(findings)}")
    print(f"classes: {', '.join(f'{value} {name}' for value, name in enumerate(findings.classes, 1)) or 'none'}")
    warnings = findings.warnings + [f"{f.list_key}: {f.file}: {text}" for f in findings.facts for text in f.warnings]
    for word, texts in (("warning", warnings), ("error", findings.problems())):
        for text in texts[:50]:
            print(f"{word}: {text}")
        if len(texts) > 50:
            print(f"{len(texts) - 50} more {word}s: see {page}")
    print(f"{'training can go on' if findings.ready else 'training cannot go on'}: look at {page}")
    return 0 if findings.ready else 1
