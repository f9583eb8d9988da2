# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What a server must never do, whoever asks."""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from PIL import Image

pytest.importorskip("monailabel", reason="MONAI Label is not installed here: make test-label")

from tests.label.label_server import LIVER, LUNG, copy_bundle, free_port, serving, tiny_liver, wait_for_task

SHAPE = (60, 50)


def write_picture(path: Path, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    Image.fromarray(random.integers(0, 256, SHAPE, dtype=np.uint8)).save(path)
    return path


def write_mask(path: Path) -> Path:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[10:40, 10:30] = 255
    Image.fromarray(mask).save(path)
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("safety")


@pytest.fixture(scope="module")
def url(root: Path, repository: Path) -> Iterator[str]:
    """A server of one model; a bundle that cannot be opened was named too."""
    bundle = copy_bundle(repository, root / "bundles", LUNG)
    broken = tiny_liver(repository, root / "bundles")
    (broken / "configs" / "metadata.json").write_text("{")
    studies = root / "studies"
    studies.mkdir()
    for seed, name in enumerate(("bea", "cat", "dan")):
        write_picture(studies / f"{name}.png", seed)
    (studies / "ann.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    write_picture(root / "secret.png", 9)
    port = free_port()
    command = [sys.executable, "-m", "monai_semgan", "label", str(studies), "--bundles", str(bundle), str(broken)]
    command += ["--port", str(port), "--work-dir", str(root / "app"), "--hosts", "label.hospital.org"]
    with serving(command, port, root / "server.log", root) as address:
        yield address


def files_of(folder: Path) -> set[str]:
    """All files but the server's own records."""
    kept = (".log", ".lock", ".json")
    return {str(path) for path in folder.rglob("*") if path.is_file() and path.suffix not in kept}


def refusal(response: requests.Response) -> str:
    """The words of a refusal, which has to be one."""
    assert 400 <= response.status_code < 500, (response.status_code, response.text)
    words = response.json()["detail"]
    return words if isinstance(words, str) else json.dumps(words)


@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("../pwn", "a.png", "image is"),
        ("%2e%2e%2fpwn", "a.py", "suffix"),
        ("..", "a.png", "image is"),
        ("pwn", "a.py", "suffix"),
        ("pwn", "picture.png", "the image is refused"),
        ("/tmp/pwn", "a.png", "image is"),
        ("bea", "a.png", "there is an image"),
    ],
)
def test_images_are_put_into_the_folder_alone(url: str, root: Path, name: str, file: str, words: str) -> None:
    before = files_of(root)
    content = b"no picture" if words == "the image is refused" else (root / "secret.png").read_bytes()
    response = requests.put(f"{url}/datastore/image", params={"image": name}, files={"file": (file, content)})
    assert words in refusal(response)
    assert files_of(root) == before


def test_an_image_that_is_put_is_a_study_of_its_own_name(url: str, root: Path) -> None:
    content = (root / "secret.png").read_bytes()
    response = requests.put(f"{url}/datastore/image", files={"file": ("eve.2.3.png", content)})
    assert response.json() == {"image": "eve.2.3"}
    assert (root / "studies" / "eve.2.3.png").read_bytes() == content
    assert requests.delete(f"{url}/datastore/image", params={"id": "eve.2.3"}).status_code == 200
    assert "eve.2.3" not in requests.get(f"{url}/datastore/?output=all").json()["objects"]


@pytest.mark.parametrize("tag", ["../../../evil", "..", "a/b", "final/../../x", ".hidden"])
def test_labels_are_put_and_deleted_in_their_folder_alone(url: str, root: Path, tag: str) -> None:
    victim = root / "evil" / "bea.png"
    victim.parent.mkdir(exist_ok=True)
    write_mask(victim)
    before = files_of(root)
    label = {"label": ("bea.png", write_mask(root / "mask.png").read_bytes())}
    for response in (
        requests.put(f"{url}/datastore/label", params={"image": "bea", "tag": tag}, files=label),
        requests.delete(f"{url}/datastore/label", params={"id": "bea", "tag": tag}),
        requests.get(f"{url}/datastore/label", params={"label": "bea", "tag": tag}),
        requests.post(
            f"{url}/infer/{LUNG}?image=bea", data={"params": json.dumps({"save_label": True, "label_tag": tag})}
        ),
    ):
        assert "tag is" in refusal(response)
    assert files_of(root) - {str(root / "mask.png")} == before - {str(root / "mask.png")}


def test_images_of_the_studies_alone_are_segmented(url: str, root: Path) -> None:
    secret = str(root / "secret.png")
    for params, data in (
        ({"image": secret}, {}),
        ({"image": "../secret"}, {}),
        ({"image": "bea"}, {"image": secret}),
        ({"image": ""}, {"image": secret}),
        ({"image": "bea"}, {"session": {"image": secret}}),
    ):
        response = requests.post(f"{url}/infer/{LUNG}", params=params, data={"params": json.dumps(data)})
        assert refusal(response)
    for path in (f"infer/wsi/{LUNG}", f"infer/wsi_v2/{LUNG}"):
        assert requests.post(f"{url}/{path}", params={"image": secret}, json={}).status_code == 404
    response = requests.post(f"{url}/batch/infer/{LUNG}", json={"images": [secret]})
    assert "may not choose 'images'" in refusal(response)
    archive = {"files": ("a.tar", b"")}
    assert "archives" in refusal(requests.put(f"{url}/session/", params={"uncompress": True}, files=archive))


def test_the_server_answers_to_its_own_names_alone(url: str) -> None:
    for host, status in (("evil.example", 400), ("localhost.evil.example", 400), ("label.hospital.org", 200)):
        assert requests.get(f"{url}/info/", headers={"Host": host}).status_code == status


def test_a_bundle_that_cannot_be_opened_is_left_out(url: str) -> None:
    info = requests.get(f"{url}/info/").json()
    assert set(info["models"]) == {LUNG}
    assert f"{LIVER} cannot be opened" in info["lacking"][LIVER]
    assert "cannot be opened" in refusal(requests.post(f"{url}/infer/{LIVER}?image=bea"))


@pytest.mark.parametrize("params", ["[1, 2]", "3", "{", '"text"'])
def test_parameters_that_are_no_object_are_refused(url: str, root: Path, params: str) -> None:
    label = {"label": ("bea.png", write_mask(root / "mask.png").read_bytes())}
    for response in (
        requests.post(f"{url}/infer/{LUNG}?image=bea", data={"params": params}),
        requests.put(f"{url}/datastore/label?image=bea", data={"params": params}, files=label),
        requests.put(f"{url}/datastore/image/info?image=bea", data={"info": params}),
        requests.post(f"{url}/train/{LUNG}", data=params, headers={"Content-Type": "application/json"}),
        requests.post(f"{url}/activelearning/first", data=params, headers={"Content-Type": "application/json"}),
    ):
        refusal(response)


def test_an_unreadable_image_is_left_out_with_a_word(url: str) -> None:
    for strategy in ("first", "random", f"least_understood_{LUNG}"):
        assert requests.post(f"{url}/activelearning/{strategy}", json={}).json()["id"] in ("bea", "cat", "dan")
    assert "damaged" in requests.get(f"{url}/datastore/").json()["unreadable"]["ann"]


def test_a_label_that_is_deleted_while_a_training_starts_is_skipped(url: str, root: Path) -> None:
    content = write_mask(root / "mask.png").read_bytes()
    for name in ("bea", "cat"):
        params = {"image": name, "tag": "final"}
        saved = requests.put(f"{url}/datastore/label", params=params, files={"label": (f"{name}.png", content)})
        assert saved.json() == {"image": name, "label": name}
    assert requests.post(f"{url}/train/{LUNG}", json={"max_epochs": 1, "steps_per_epoch": 1}).status_code == 200
    assert requests.delete(f"{url}/datastore/label?id=bea&tag=final").status_code == 200
    assert requests.delete(f"{url}/datastore/label?id=bea&tag=final").status_code == 404
    task = wait_for_task(url, "train")
    assert task["status"] == "DONE", task["details"]


@pytest.fixture
def recording() -> Iterator[tuple[str, list[str]]]:
    """A PACS that writes down what it is asked."""
    asked: list[str] = []

    class Pacs(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            self.send_response(200)
            self.send_header("Content-Type", "application/dicom+json")
            self.end_headers()
            self.wfile.write(b"[]")

        do_POST = do_GET

    server = HTTPServer(("127.0.0.1", 0), Pacs)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/dicom-web", asked
    server.shutdown()


def test_the_proxy_passes_dicomweb_alone(
    tmp_path: Path, repository: Path, recording: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONAI_LABEL_DICOMWEB_CACHE_PATH", str(tmp_path / "cache"))
    pacs, asked = recording
    bundle = copy_bundle(repository, tmp_path, LUNG)
    port = free_port()
    command = [sys.executable, "-m", "monai_semgan", "label", pacs, "--bundles", str(bundle), "--port", str(port)]
    with serving(command, port, tmp_path / "server.log", tmp_path) as url:

        def status(method: str, path: str) -> int:
            # as it is: other clients tidy paths
            connection = http.client.HTTPConnection(urlsplit(url).netloc)
            connection.request(method, path, body=b"x" if method == "POST" else None)
            return connection.getresponse().status

        asked.clear()
        for method, path in (
            ("GET", "/proxy/dicom/wado/../system"),
            ("GET", "/proxy/dicom/wado/%2e%2e/patients"),
            ("GET", "/proxy/dicom/wado/%252e%252e/patients"),
            ("POST", "/proxy/dicom/qido/../tools/find"),
            ("POST", "/proxy/dicom/wado/studies/1.2/series"),
            ("GET", "/proxy/dicom/studies/../../system"),
            ("GET", "/proxy/dicom/system"),
            ("GET", "/proxy/dicom/wado/studies/1.2?x=%2e%2e/../%00"),
        ):
            answer = status(method, path)
            assert answer == 404 or "?x" in path and answer == 200, path
        assert [line for line in asked if "x=" not in line] == []
        asked.clear()
        assert status("GET", "/proxy/dicom/qido/studies?PatientName=A*&limit=5") == 200
        assert status("POST", "/proxy/dicom/stow/studies") == 200
        assert asked == ["GET /dicom-web/studies?PatientName=A%2A&limit=5", "POST /dicom-web/studies"]
