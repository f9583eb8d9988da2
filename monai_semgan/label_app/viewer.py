# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""OHIF as MONAI Label ships it, changed so that it talks to the server that it came from and to no other."""

from __future__ import annotations

import mimetypes
from pathlib import Path

import monailabel.endpoints
from fastapi import APIRouter, Depends, Response
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC

from monai_semgan.label_app.refusal import BadRequest

FONTS = "https://fonts.googleapis.com/css"
INTER = "?family=Inter:100,300,400,500,700&display=swap"
# a cookie of another port's page would win over what it is preset to
PRESET = (
    "CookieUtils.getCookieString('MONAILABEL_SERVER_URL', 'http://' + window.location.host.split(':')[0] + ':8000/')"
)
# in files of these endings, what is replaced by what
CHANGES = {
    ".js": (
        (PRESET, "window.location.origin + '/'"),
        ("this.serverURI = 'http://127.0.0.1:8000'", "this.serverURI = window.location.origin"),
    ),
    ".css": (
        (f"@import url({FONTS}2?family=Inter:wght@100..900&display=swap);", ""),
        (f"@import url({FONTS}{INTER});", ""),
    ),
    ".html": (
        ('<link rel="preconnect" href="https://fonts.gstatic.com" crossorigin/>', ""),
        (f'<link href="{FONTS}{INTER}" rel="stylesheet" rel="preload" as="style"/>', ""),
    ),
}
# scripts of the page make others, images and workers; all come from here
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob: data:; frame-ancestors 'self'"

router = APIRouter()


@router.get(
    "/ohif/{path:path}", include_in_schema=False, dependencies=[Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))]
)
def ohif(path: str) -> Response:
    """Give a file of the viewer; its pages are all the one page."""
    folder = Path(monailabel.endpoints.__file__).parent / "static" / "ohif"
    file = (folder / path).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise BadRequest(f"{path!r} is no file of the viewer", 404)
    if not file.is_file():
        file = folder / "index.html"
    headers = {"Content-Security-Policy": POLICY}
    kind = mimetypes.guess_type(file)[0] or "application/octet-stream"
    if file.suffix not in CHANGES:
        return FileResponse(file, media_type=kind, headers=headers)
    return Response(changed(file), media_type=kind, headers=headers)


def changed(file: Path) -> str:
    """A text file with the changes in it."""
    text = file.read_text(encoding="utf-8")
    for old, new in CHANGES[file.suffix]:
        text = text.replace(old, new)
    return text
