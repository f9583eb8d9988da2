# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""MONAI Label's server, with answers in words to requests that cannot be served."""

from __future__ import annotations

import errno
import functools
import json
import logging
from types import SimpleNamespace

import jwt
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse
from monailabel.app import app as stock
from monailabel.config import settings
from monailabel.endpoints import (
    activelearning,
    batch_infer,
    datastore,
    infer,
    info,
    login,
    logs,
    model,
    scoring,
    session,
    train,
)
from monailabel.endpoints.user import auth
from monailabel.interfaces.exception import (
    ImageNotFoundException,
    LabelNotFoundException,
    MONAILabelError,
    MONAILabelException,
)
from starlette.exceptions import HTTPException

import monai_semgan
from monai_semgan.label_app import dicomweb_proxy, page, viewer
from monai_semgan.label_app.endpoints import served
from monai_semgan.label_app.refusal import BadRequest

logger = logging.getLogger(__name__)
# what MONAI Label answers by 500 though the request is at fault
MISTAKEN = ("Neither Image nor File",)
# what a full disk is called
FULL = (errno.ENOSPC, errno.EDQUOT)

# MONAI Label names no algorithm of tokens, without which PyJWT refuses every one; it is that of Keycloak's
auth.jwt = SimpleNamespace(decode=functools.partial(jwt.decode, algorithms=["RS256"]))

app = FastAPI(
    title="monai-semgan, MONAI Label",
    version=monai_semgan.__version__,
    docs_url="/",
    redoc_url="/docs",
    lifespan=stock.router.lifespan_context,
)
for module in (info, model, infer, batch_infer, train, activelearning, scoring, datastore, logs, session):
    app.include_router(served(module))
if settings.MONAI_LABEL_AUTH_ENABLE:
    app.include_router(login.router)
app.include_router(dicomweb_proxy.router)
app.include_router(viewer.router)
app.include_router(page.router)

conf = settings.MONAI_LABEL_APP_CONF
# web pages of other addresses may not read the studies unless they were named
if origins := conf.get("origins"):
    app.add_middleware(CORSMiddleware, allow_origins=origins.split(","), allow_methods=["*"], allow_headers=["*"])
# nor may those whose name was made to lead here
app.add_middleware(TrustedHostMiddleware, allowed_hosts=conf.get("hosts", "127.0.0.1,localhost").split(","))


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


@app.exception_handler(OSError)
def refuse_full_disk(request: Request, error: OSError) -> JSONResponse:
    """Tell a client that the disk is full."""
    logger.error("request failed: %s", error, exc_info=error)
    if error.errno in FULL:
        return answer("the server's disk is full, nothing was changed: make room and send it again", 507)
    return answer(f"the server failed: {error.strerror or error}", 500)


@app.exception_handler(Exception)
def fail(request: Request, error: Exception) -> JSONResponse:
    """Tell a client that the server failed; what happened is in its log."""
    return answer(f"the server failed ({type(error).__name__}), its log says more", 500)
