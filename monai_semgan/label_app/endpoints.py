# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""MONAI Label's endpoints, with a check before each, and answers that leave when they are ready."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
from collections.abc import Callable
from pathlib import PurePath
from types import ModuleType
from typing import Any

import anyio
from fastapi import APIRouter
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.endpoints import model
from monailabel.endpoints.infer import ResultType
from monailabel.interfaces.utils.app import app_instance

from monai_semgan.formats import stem
from monai_semgan.label_app.names import check_image_file, check_request
from monai_semgan.label_app.pacs import PacsStudies
from monai_semgan.label_app.refusal import BadRequest

# what is named in an address, by its first word
NAMED = {
    **dict.fromkeys(("infer", "train", "batch", "model"), "model"),
    "activelearning": "strategy",
    "scoring": "method",
}
# one image at a time for each model, the others wait in the order in which they came
turns: dict[str, anyio.CapacityLimiter] = {}


def served(module: ModuleType) -> APIRouter:
    """Make routes of those of one of MONAI Label's modules, each checked.

    MONAI Label answers within the loop that takes requests in, so that all wait for the slowest. Here each is answered
    by a thread of its own.

    Args:
        module: one of ``monailabel.endpoints``.
    """
    router = APIRouter()
    for route in module.router.routes:
        if module is model and not route.methods <= {"GET", "HEAD"}:
            # weights come as files; here they would be written over those in use
            continue
        router.add_api_route(
            route.path,
            shielded(route.endpoint, route.path, route.methods),
            methods=list(route.methods),
            summary=route.summary,
            tags=route.tags,
            responses=route.responses,
            deprecated=route.deprecated,
            include_in_schema=route.include_in_schema,
        )
    return router


def shielded(endpoint: Callable[..., Any], path: str, methods: set[str]) -> Callable[..., Any]:
    """Put the checks before an endpoint.

    Args:
        endpoint: a coroutine function of MONAI Label's, which waits for nothing.
        path: its path.
        methods: its HTTP methods.

    Returns:
        A function of the same parameters, for FastAPI.
    """
    kind = path.strip("/").partition("/")[0]

    def answer(**given: Any) -> Any:
        check(kind, path, methods, given)
        datastore = app_instance().datastore()
        if (path, methods) == ("/datastore/image", {"GET"}) and isinstance(datastore, PacsStudies):
            return download(datastore, given["image"])
        segmentation = given.get("output") == ResultType.dicom_seg
        if segmentation:
            # written like any other format, not by MONAI Label's own tools
            given |= {"output": ResultType.image, "params": with_params(given, result_extension=".dcm")}
        response = asyncio.run(endpoint(**given))
        if segmentation:
            response.headers["content-type"] = "application/dicom"
        return response

    async def in_turn(**given: Any) -> Any:
        turn = turns.setdefault(given["model"], anyio.CapacityLimiter(1))
        return await anyio.to_thread.run_sync(functools.partial(answer, **given), limiter=turn)

    chosen: Any = in_turn if kind == "infer" else answer
    chosen.__signature__ = inspect.signature(endpoint)
    chosen.__name__ = endpoint.__name__
    return chosen


def check(kind: str, path: str, methods: set[str], given: dict[str, Any]) -> None:
    """Refuse what cannot be answered.

    Args:
        kind: the first word of the path.
        path: the endpoint's path.
        methods: its HTTP methods.
        given: what it is called with, by name; changed in place.

    Raises:
        BadRequest: with what is wrong.
    """
    check_request(given)
    app, name = app_instance(), NAMED.get(kind, "")
    if name in given:
        app.check(kind, given[name], given.get("params"))
    if given.get("uncompress"):
        raise BadRequest("archives are not taken: send the files of the image themselves")
    if kind == "infer" and given.get("label") is not None:
        raise BadRequest("these models segment the image alone: send no label")
    if kind == "datastore" and "PUT" in methods and "file" in given:
        file = given["file"].filename or ""
        check_image_file(file)
        given["image"] = given.get("image") or stem(PurePath(file))
    if kind == "datastore" and path.endswith("/label") and "PUT" in methods and settings.MONAI_LABEL_AUTH_ENABLE:
        user = given["user"]
        # who it was is the token's to say
        given["params"] = with_params(given, reader=user.name or user.username)


def download(datastore: PacsStudies, image: str) -> FileResponse:
    """Give an image of a PACS as one file.

    Raises:
        BadRequest: when there is none.
    """
    if not (file := datastore.download(image)):
        raise BadRequest(f"there is no image {image!r} in the PACS", 404)
    return FileResponse(file, filename=PurePath(file).name)


def with_params(given: dict[str, Any], **more: Any) -> str:
    """The parameters of a form with others in their place."""
    return json.dumps({**json.loads(given["params"] or "{}"), **more})
