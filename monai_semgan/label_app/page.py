# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A page on which images are segmented, corrected and saved in a browser: what OHIF does not do of X-rays."""

from __future__ import annotations

import io
from importlib.resources import files

import numpy as np
from fastapi import APIRouter, Depends, Response
from fastapi.responses import HTMLResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.utils.app import app_instance
from PIL import Image

from monai_semgan import formats
from monai_semgan.data import failure_reason
from monai_semgan.label_app.refusal import BadRequest

# nothing comes from elsewhere
POLICY = "default-src 'self' 'unsafe-inline' blob: data:; frame-ancestors 'self'"
# percentiles of the values that are shown black and white, in percent
DARKEST, BRIGHTEST = 0.1, 99.9

router = APIRouter(dependencies=[Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))])


@router.get("/annotate/", include_in_schema=False)
def page() -> HTMLResponse:
    """Give the page."""
    text = files("monai_semgan.label_app").joinpath("page.html").read_text(encoding="utf-8")
    return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})


@router.get("/annotate/image", summary="An image as a PNG of 8 bits, row by row as its file stores it")
def picture(image: str) -> Response:
    """Give an image for display, on whose pixels a mask may be sent back.

    Raises:
        BadRequest: when there is none, or it is no 2-D image.
    """
    app = app_instance()
    file = app.image_of(image, app.datastore())
    try:
        values = np.asarray(formats.read(file, 2)).astype(np.float64)
    except (ValueError, OSError) as error:
        raise BadRequest(f"{image} is not shown here: {failure_reason(error)}", 422) from error
    low, high = np.percentile(values, [DARKEST, BRIGHTEST])
    # 8 bits stay as they are
    low, high = (0, 255) if values.min() >= 0 and 128 < values.max() <= 255 else (low, max(high, low + 1))
    grey = np.clip((values - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)
    stream = io.BytesIO()
    # (channel, column, row), three channels are colours
    Image.fromarray(grey[0].T if len(grey) != 3 else grey.transpose(2, 1, 0)).save(stream, "png")
    return Response(stream.getvalue(), media_type="image/png")
