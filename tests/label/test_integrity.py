# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What was saved stays, whatever happens to the disk or to the server."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

pytest.importorskip("monailabel", reason="MONAI Label is not installed here: make test-label")

from tests.label.label_server import LUNG, copy_bundle, free_port, serving, wait_for_task

SHAPE = (300, 200)
# a namespace with a disk of its own
OWN_DISK = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "png")
    return stream.getvalue()


def noise(seed: int, *shape: int) -> bytes:
    """An image that does not compress."""
    return png(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def save(url: str, image: str, content: bytes) -> requests.Response:
    query = {"image": image, "tag": "final"}
    return requests.put(f"{url}/datastore/label", params=query, files={"label": (f"{image}.png", content)})


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, repository: Path) -> None:
    if subprocess.run([*OWN_DISK, f"mount -t tmpfs none {tmp_path}"], capture_output=True).returncode:
        pytest.skip("no namespace with a disk of its own can be made here")
    bundle = copy_bundle(repository, tmp_path, LUNG)
    studies = tmp_path / "studies"
    studies.mkdir()
    port = free_port()
    serve = f"mount -t tmpfs -o size=200k none {studies} && exec {sys.executable} -m monai_semgan label {studies}"
    command = [*OWN_DISK, f"{serve} --bundles {bundle} --port {port}"]
    with serving(command, port, tmp_path / "server.log", tmp_path) as url:

        def add(name: str, content: bytes) -> int:
            return requests.put(f"{url}/datastore/image", files={"file": (f"{name}.png", content)}).status_code

        assert add("ann", noise(0, *SHAPE)) == 200
        mask = np.zeros(SHAPE, dtype=np.uint8)
        mask[50:200, 40:120] = 1
        first = png(mask)
        assert save(url, "ann", first).status_code == 200
        # until nothing more fits
        sizes = iter([*range(100, 20, -20), 10])
        size = next(sizes)
        for number in range(200):
            if add(f"full_{number}", noise(number, size, size)) == 200:
                continue
            if (size := next(sizes, 0)) == 0:
                break
        before = requests.get(f"{url}/datastore/").json()
        larger = png(np.random.default_rng(1).integers(0, 2, SHAPE, dtype=np.uint8))
        response = save(url, "ann", larger)
        assert response.status_code == 507 and "disk is full" in response.json()["detail"]
        label = requests.get(f"{url}/datastore/label", params={"label": "ann", "tag": "final"})
        assert label.content == first
        assert requests.get(f"{url}/datastore/").json() == before and before["completed"] == 1
        assert requests.get(f"{url}/datastore/label/info?label=ann&tag=final").json()["name"] == "ann.png"


def children(port: int) -> tuple[psutil.Process, list[psutil.Process]]:
    """The server at a port, and the processes that it started."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "monailabel.main" in words and str(port) in words:
            return process, process.children(recursive=True)
    raise LookupError(port)


def wait_until(done: Callable[[], bool], seconds: float = 240) -> None:
    end = time.time() + seconds
    while not done():
        assert time.time() < end
        time.sleep(0.3)


def test_a_training_ends_with_its_killed_server_and_the_next_one_trains(tmp_path: Path, repository: Path) -> None:
    bundle = copy_bundle(repository, tmp_path, LUNG)
    studies = tmp_path / "studies"
    studies.mkdir()
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[50:200, 40:120] = 1
    for number in range(2):
        (studies / f"image_{number}.png").write_bytes(noise(number, *SHAPE))

    def server(port: int, name: str) -> AbstractContextManager[str]:
        command = [sys.executable, "-m", "monai_semgan", "label", str(studies), "--bundles", str(bundle)]
        command += ["--port", str(port), "--work-dir", str(tmp_path / name)]
        return serving(command, port, tmp_path / f"{name}.log", tmp_path)

    port, other = free_port(), free_port()
    with server(port, "killed") as url:
        assert save(url, "image_0", png(mask)).status_code == 200
        long = {"max_epochs": 1, "steps_per_epoch": 100_000}
        assert requests.post(f"{url}/train/{LUNG}", json=long).status_code == 200
        wait_until(lambda: "Engine run" in "".join(requests.get(f"{url}/train/").json().get("details", [])))
        with server(other, "next") as beside:
            # a server beside it may not train into the same folder
            refused = requests.post(f"{beside}/train/{LUNG}", json={"max_epochs": 1, "steps_per_epoch": 1})
            assert refused.status_code == 429 and "another server" in refused.json()["detail"]
            killed, started = children(port)
            assert len(started) >= 2
            killed.kill()
            gone = ("zombie", "dead")
            wait_until(lambda: not any(one.is_running() and one.status() not in gone for one in started), 60)
            short = {"max_epochs": 1, "steps_per_epoch": 1}
            # the last of their threads holds the lock
            wait_until(lambda: requests.post(f"{beside}/train/{LUNG}", json=short).status_code == 200, 60)
            task = wait_for_task(beside, "train")
            assert task["status"] == "DONE", task["details"]
    assert sorted(path.name for path in (bundle / "models").glob("*.pt")) == ["model.pt", "model_v2.pt"]
    assert (studies / "labels" / "final" / "image_0.png").read_bytes() == png(mask)
