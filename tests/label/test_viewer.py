# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""OHIF in a browser, over a server of the studies of a PACS."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nibabel as nib
import numpy as np
import pydicom
import pytest
import requests
from PIL import Image

pytest.importorskip("monailabel", reason="MONAI Label is not installed here: make test-label")

from pydicom.uid import CTImageStorage, generate_uid

from tests.label.label_server import LUNG, SIZES, copy_bundle, dice, draw_studies, free_port, serving, tiny_liver
from tests.label.orthanc import orthanc, upload
from tests.volume_files import BACK, HEAD, LEFT, affine_of, ellipsoid, write_series

VOLUME = (30, 26, 7)
# software alone draws
# milliseconds
WAIT = 240_000
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, as the system has it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed here: apt install chromium")
    with playwright.sync_playwright() as run:
        started = run.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


def test_an_image_is_segmented_corrected_and_saved_on_the_page(
    browser: Any, tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> None:
    root = tmp_path_factory.mktemp("page")
    bundle = copy_bundle(repository, root, LUNG)
    studies = draw_studies(bundle, root / "studies")
    port = free_port()
    command = [sys.executable, "-m", "monai_semgan", "label", str(root / "studies"), "--bundles", str(bundle)]
    asked: list[str] = []
    with serving([*command, "--port", str(port)], port, root / "server.log", root) as address:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/annotate/?image=dicom")
        page.locator("#run:enabled").wait_for(timeout=WAIT)
        with page.expect_response(lambda answer: "/infer/" in answer.url, timeout=WAIT):
            page.click("#run")
        page.locator("#submit:enabled").wait_for(timeout=WAIT)
        assert "predicted Dice" in page.inner_text("#told")
        box = page.locator("canvas").bounding_box()
        scale = SIZES["dicom"][0] / box["width"]
        # a stroke from the left above
        x, y = box["x"] + 20 / scale, box["y"] + 15 / scale
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 30 / scale, y, steps=3)
        page.mouse.up()
        with page.expect_response(lambda answer: "/datastore/label" in answer.url, timeout=WAIT) as saved:
            page.click("#submit")
        assert saved.value.status == 200, saved.value.text()
        with page.expect_response(lambda answer: "/annotate/image" in answer.url, timeout=WAIT) as following:
            page.click("#next")
        assert following.value.status == 200 and "image=dicom" not in following.value.url
        page.close()
        label = requests.get(f"{address}/datastore/label", params={"label": "dicom", "tag": "final"}).content
        model = requests.post(f"{address}/infer/{LUNG}", params={"image": "dicom", "output": "image"}).content
    mask = np.asarray(Image.open(io.BytesIO(label)).convert("L")) > 0
    (root / "mask.nii.gz").write_bytes(model)
    given = np.asarray(nib.load(root / "mask.nii.gz").dataobj)[..., 0].T > 0
    assert mask.shape[::-1] == SIZES["dicom"]
    # the model's mask and the stroke
    drawn = mask & ~given
    assert not (given & ~mask).any() and drawn[15, 20] and drawn[15, 50] and not drawn[60:].any()
    assert dice(given.astype(np.uint8), studies["dicom"].mask) > 0.85
    assert {urlsplit(one).netloc for one in asked if not one.startswith("blob:")} == {urlsplit(address).netloc}


def test_ohif_opens_a_volume_and_its_panel_is_preset_to_the_page(browser: Any, url: tuple[str, str]) -> None:
    server, study = url
    asked: list[str] = []
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    # a page of another port was here before
    page.context.add_cookies([{"name": "MONAILABEL_SERVER_URL", "value": "http://127.0.0.1:8000/", "url": server}])
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server}/ohif/monai-label?StudyInstanceUIDs={study}", timeout=WAIT, wait_until="commit")
    page.locator("canvas").first.wait_for(timeout=WAIT)
    values = page.locator("input").evaluate_all("all => all.map(one => one.value)")
    page.close()
    assert f"{server}/" in values
    others = {urlsplit(one).netloc for one in asked if not one.startswith(("blob:", "data:"))}
    assert others == {urlsplit(server).netloc}
