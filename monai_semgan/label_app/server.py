# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""MONAI Label's server, with answers in words to requests that cannot be served."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import jwt
from fastapi import Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from monailabel.app import app
from monailabel.config import settings
from monailabel.endpoints.user import auth
from monailabel.interfaces.exception import (
    ImageNotFoundException,
    LabelNotFoundException,
    MONAILabelError,
    MONAILabelException,
)
from monailabel.interfaces.utils.app import app_instance
from starlette.exceptions import HTTPException

from monai_semgan.label_app.infer_task import BadRequest

__all__ = ["app"]

logger = logging.getLogger(__name__)
KINDS = ("infer", "train", "activelearning", "scoring")
# what MONAI Label answers by 500 though the request is at fault
MISTAKEN = ("Neither Image nor File", "DICOM SEG format is not supported")

# MONAI Label lets the web pages of all addresses read the studies; only those that were named may
app.user_middleware = [layer for layer in app.user_middleware if layer.cls is not CORSMiddleware]
if origins := settings.MONAI_LABEL_APP_CONF.get("origins"):
    app.add_middleware(CORSMiddleware, allow_origins=origins.split(","), allow_methods=["*"], allow_headers=["*"])

# MONAI Label 0.8.5 names no algorithm of tokens, without which PyJWT refuses every one; it is that of Keycloak's
auth.jwt = SimpleNamespace(decode=functools.partial(jwt.decode, algorithms=["RS256"]))


def answer(words: str, status: int) -> JSONResponse:
    """The answer to a request that is refused, as FastAPI gives it."""
    return JSONResponse({"detail": words}, status_code=status)


@app.exception_handler(MONAILabelException)
def refuse(request: Request, error: MONAILabelException) -> JSONResponse:
    """Tell a client what is wrong with its request, or that the server failed."""
    if isinstance(error, BadRequest):
        return answer(str(error), error.status)
    if isinstance(error, (ImageNotFoundException, LabelNotFoundException)):
        return answer(error.msg, 404)
    logger.error("request failed: %s", error.msg, exc_info=error)
    return answer(error.msg, 400 if error.error == MONAILabelError.INVALID_INPUT else 500)


@app.exception_handler(json.JSONDecodeError)
def refuse_json(request: Request, error: json.JSONDecodeError) -> JSONResponse:
    """Tell a client that its parameters are no JSON."""
    return answer(f"params are no JSON: {error}", 400)


@app.exception_handler(HTTPException)
def refuse_http(request: Request, error: HTTPException) -> JSONResponse:
    """Pass MONAI Label's own refusals on, with the status that they should have."""
    mistaken = error.status_code == 500 and str(error.detail).startswith(MISTAKEN)
    response = answer(error.detail, 400 if mistaken else error.status_code)
    response.headers.update(error.headers or {})
    return response


def is_known(request: Request) -> bool:
    """Whether a client may be told what there is: everybody, or with authentication the holders of a valid token."""
    if not settings.MONAI_LABEL_AUTH_ENABLE:
        return True
    try:
        auth.from_token(request.headers.get("Authorization", "").removeprefix("Bearer "))
    except jwt.InvalidTokenError:
        return False
    return True


@app.middleware("http")
async def check_names(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse names of models, strategies and scores that there are none of, which else fail later and unseen."""
    kind, _, name = request.url.path.removeprefix(settings.MONAI_LABEL_API_STR).strip("/").partition("/")
    if request.method == "POST" and kind in KINDS and name and "/" not in name and is_known(request):
        try:
            app_instance().check(kind, name)
        except BadRequest as error:
            return refuse(request, error)
    return await call_next(request)
