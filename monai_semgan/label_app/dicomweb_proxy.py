# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The way of a viewer to the PACS: DICOMweb (PS3.18) and nothing else of what its server offers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import requests
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.utils.app import app_instance

from monai_semgan.label_app.refusal import BadRequest

UID = r"[0-9]+(\.[0-9]+)*"
ENDS = r"/(metadata|rendered|thumbnail|pixeldata|bulkdata(/[\w.-]+)*|frames/\d+(,\d+)*(/(rendered|thumbnail))?)"
# what is searched for and what is retrieved (PS3.18 10.4 and 10.6)
READ = re.compile(
    rf"(studies|series|instances|studies/{UID}(/series|/instances)?|studies/{UID}/series/{UID}(/instances)?"
    rf"|studies/{UID}/series/{UID}/instances/{UID})({ENDS})?"
)
# what is stored (10.5)
STORE = re.compile(rf"studies(/{UID})?")
# headers that mean something to the PACS and back
SENT, RETURNED = ("accept", "content-type"), ("content-type", "content-length", "content-encoding")
CHUNK = 1 << 16

router = APIRouter()


@router.get(
    "/proxy/dicom/{path:path}",
    include_in_schema=False,
    dependencies=[Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))],
)
def read(request: Request, path: str) -> StreamingResponse:
    """Search or retrieve."""
    return passed_on(request, path, READ)


@router.post(
    "/proxy/dicom/{path:path}",
    include_in_schema=False,
    dependencies=[Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))],
)
async def store(request: Request, path: str) -> StreamingResponse:
    """Store instances."""
    return await run_in_threadpool(passed_on, request, path, STORE, await request.body())


def passed_on(request: Request, path: str, allowed: re.Pattern[str], body: bytes | None = None) -> StreamingResponse:
    """Pass a request on to the PACS, and its answer back.

    Args:
        request: with its query and headers.
        path: what follows the address of the PACS; a first word wado, qido or stow is left out.
        allowed: the paths that are passed on.
        body: what is stored.

    Raises:
        BadRequest: when the path is none of DICOMweb's, or there is no PACS.
    """
    datastore = app_instance().datastore()
    if not hasattr(datastore, "address"):
        raise BadRequest("the studies lie in a folder, there is no PACS to ask", 404)
    words = re.sub(r"^(wado|qido|stow)/", "", path)
    # decoded once already: what is decoded twice does not match
    if not allowed.fullmatch(words):
        raise BadRequest(f"{path!r} is no path of DICOMweb for {request.method}", 404)
    headers = {name: value for name in SENT if (value := request.headers.get(name))}
    answer = datastore.session.request(
        request.method,
        datastore.address(words),
        params=request.query_params.multi_items(),
        headers=headers,
        data=body,
        stream=True,
        allow_redirects=False,
        timeout=settings.MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT,
    )
    returned = {name: value for name in RETURNED if (value := answer.headers.get(name))}
    return StreamingResponse(pieces(answer), status_code=answer.status_code, headers=returned)


def pieces(answer: requests.Response) -> Iterator[bytes]:
    """The body of an answer as it came, piece by piece."""
    with answer:
        yield from answer.raw.stream(CHUNK, decode_content=False)
