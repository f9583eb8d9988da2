# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""OHIF in a browser, over a server of the studies of a PACS."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pydicom
import pytest
import requests

pytest.importorskip("monailabel", reason="MONAI Label is not installed here: make test-label")

from pydicom.uid import CTImageStorage, generate_uid

from tests.label.label_server import free_port, serving, tiny_liver
from tests.label.orthanc import orthanc, upload
from tests.volume_files import BACK, HEAD, LEFT, affine_of, ellipsoid, write_series

VOLUME = (30, 26, 7)
# software alone draws
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[tuple[str, str]]:
    """The server's address and the study in its PACS."""
    root = tmp_path_factory.mktemp("viewer")
    bundle = tiny_liver(repository, root)
    random = np.random.default_rng(0)
    volume = np.where(ellipsoid(VOLUME), 1084, 24) + random.integers(0, 30, VOLUME)
    study = generate_uid()
    tags = {"StudyInstanceUID": study, "FrameOfReferenceUID": generate_uid(), "PatientID": "8", "PatientName": "C^D"}
    tags |= {"SOPClassUID": CTImageStorage, "RescaleIntercept": -1024, "RescaleSlope": 1, "StudyDate": "20260101"}
    tags |= {"InstanceNumber": lambda index: index + 1}
    slices = write_series(root / "ct", volume, affine_of(LEFT, BACK, HEAD), **tags)
    assert pydicom.dcmread(slices[0]).StudyInstanceUID == study
    with orthanc(root / "orthanc") as pacs, pytest.MonkeyPatch.context() as patch:
        upload(pacs, slices)
        patch.setenv("MONAI_LABEL_DICOMWEB_CACHE_PATH", str(root / "cache"))
        port = free_port()
        command = [sys.executable, "-m", "monai_semgan", "label", f"{pacs}/dicom-web", "--port", str(port)]
        command += ["--bundles", str(bundle), "--work-dir", str(root / "app")]
        with serving(command, port, root / "server.log", root) as address:
            yield address, study


def test_the_viewers_files_name_no_other_server(url: tuple[str, str]) -> None:
    page = requests.get(f"{url[0]}/ohif/")
    assert "fonts.g" not in page.text and "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "fonts.g" not in requests.get(f"{url[0]}/ohif/app.bundle.css").text
    # files in folders below, and paths of its pages
    assert requests.get(f"{url[0]}/ohif/assets/favicon.ico").headers["Content-Type"].startswith("image/")
    assert requests.get(f"{url[0]}/ohif/viewer?StudyInstanceUIDs=1").text == page.text
    assert requests.get(f"{url[0]}/ohif/%2e%2e/%2e%2e/%2e%2e/config.py").status_code == 404


def test_the_panel_is_preset_to_the_page_and_run_is_answered(url: tuple[str, str], tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed here: apt install chromium")
    server, study = url
    asked: list[str] = []
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        # a page of another port was here before
        page.context.add_cookies([{"name": "MONAILABEL_SERVER_URL", "value": "http://127.0.0.1:8000/", "url": server}])
        page.on("request", lambda request: asked.append(request.url))
        with page.expect_response(re.compile(r"/info/$"), timeout=180_000) as info:
            page.goto(f"{server}/ohif/monai-label?StudyInstanceUIDs={study}", timeout=180_000)
        assert info.value.url == f"{server}/info/" and info.value.status == 200
        page.wait_for_selector("canvas", timeout=120_000)
        page.screenshot(path=tmp_path / "opened.png")
        browser.close()
    others = {urlsplit(one).netloc for one in asked if not one.startswith(("blob:", "data:"))}
    assert others == {urlsplit(server).netloc}
