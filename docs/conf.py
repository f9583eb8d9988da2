# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Sphinx: ``make docs`` writes the pages of this folder and the API reference to build/docs."""

from __future__ import annotations

import importlib
import logging
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

import monai_semgan  # noqa: E402

project = "monai-semgan"
author = copyright = "monai-semgan contributors"
release = version = monai_semgan.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
templates_path = ["_templates"]
# GitHub's index of the folder, which index.md includes
exclude_patterns = ["README.md"]
html_theme = "alabaster"
html_theme_options = {"fixed_sidebar": True, "page_width": "1100px"}
html_show_sourcelink = False

# links to headings, as on GitHub
myst_heading_anchors = 4

napoleon_numpy_docstring = False
# attributes that a docstring lists are described once
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
# MONAI Label and what it brings live in an environment of their own
autodoc_mock_imports = ["anyio", "fastapi", "jwt", "monailabel", "requests", "starlette", "uvicorn"]

# what libraries say while their modules are imported
warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", category=FutureWarning)
logging.getLogger("monai").setLevel(logging.ERROR)

LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)(#[^)]*)?\)")


def keep_text_of_outer_links(app: Sphinx, page: str, source: list[str]) -> None:
    """Links to files of the repository that are no pages become their text; those to nothing are warned of."""
    folder = (DOCS / page).parent

    def text(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if target.is_relative_to(DOCS):
            return link[0]
        if not target.exists():
            getLogger(__name__).warning("link to %s, which does not exist", link[2], location=page)
        return link[1]

    source[0] = LINK.sub(text, source[0])


def resolve_public_name(app: Sphinx, env: Any, node: Any, content: nodes.TextElement) -> nodes.Node | None:
    """Classes are named by the room that exports them, and documented in their own file."""
    if node.get("refdomain") != "py":
        return None
    module, _, name = node["reftarget"].rpartition(".")
    if not module.startswith("monai_semgan"):
        return None
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return None
    home = getattr(found, "__module__", module)
    if home == module:
        return None
    return env.get_domain("py").resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], f"{home}.{name}", node, content
    )


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", keep_text_of_outer_links)
    app.connect("include-read", lambda app, path, page, source: keep_text_of_outer_links(app, path.stem, source))
    app.connect("missing-reference", resolve_public_name)
