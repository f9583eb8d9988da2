# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A MONAI Label server for tests, which ends with them, and studies to ask it about."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from PIL import Image

from monai_semgan.bundle import Bundle
from monai_semgan.networks.nets import SemanticGAN
from tests.image_files import oblique_affine, write_dicom
from tests.tiny_bundle import TINY_NETWORK
from tests.volume_files import FEET, FRONT, RIGHT, affine_of, ellipsoid, write_volume

LUNG, LESION, LIVER = "lung_xray_segmentation", "lesion_dermoscopy_segmentation", "liver_ct_mri_segmentation"
# a server that reaches for anything but this machine finds a closed door
OFFLINE = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
OFFLINE |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
# width and height, all different, so that answers cannot be mixed up unseen
SIZES = {"png": (150, 120), "jpeg": (140, 170), "dicom": (96, 110), "nifti": (104, 88), "other": (90, 130)}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def serving(command: Sequence[str], port: int, log: Path, cwd: Path) -> Iterator[str]:
    """Run a server, wait until it answers, give its address, and end it with all that it started."""
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, cwd=cwd, env=os.environ | OFFLINE, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_it_answers(url, process, log)
        yield url
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(timeout=20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass


def wait_until_it_answers(url: str, process: subprocess.Popen, log: Path, seconds: float = 180) -> None:
    end = time.time() + seconds
    while time.time() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as response:
                json.load(response)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError(f"the server does not answer:\n{log.read_text()[-3000:]}")


def wait_for_task(url: str, kind: str, seconds: float = 240) -> dict[str, Any]:
    """Wait until the last task of a kind has ended."""
    end = time.time() + seconds
    while time.time() < end:
        with urllib.request.urlopen(f"{url}/{kind}/") as response:
            task = json.load(response)
        if task["status"] not in ("SUBMITTED", "RUNNING"):
            return task
        time.sleep(0.5)
    raise TimeoutError(f"{kind} still runs: {task}")


def copy_bundle(repository: Path, folder: Path, name: str) -> Path:
    """Copy a bundle with its weights, so that tests may write to it."""
    return Path(shutil.copytree(repository / "bundles" / name, folder / name))


def tiny_liver(repository: Path, folder: Path) -> Path:
    """Copy the liver bundle with a small network and random weights."""
    bundle = copy_bundle(repository, folder, LIVER)
    path = bundle / "configs" / "inference.yaml"
    config = ConfigParser.load_config_file(path)
    config["network_def"] |= TINY_NETWORK
    ConfigParser.export_config_file(config, str(path), fmt="yaml")
    torch.manual_seed(0)
    network = SemanticGAN(image_channels=1, **TINY_NETWORK)
    network.prior.fit(torch.randn(9, network.generator.num_codes, network.generator.latent_dim))
    (bundle / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    return bundle


@dataclass(frozen=True)
class Study:
    """An image, by its id on the server, and its true mask ``(row, column)``."""

    file: Path
    mask: np.ndarray

    @property
    def id(self) -> str:
        return self.file.name.split(".")[0]


def draw_studies(bundle: Path, folder: Path) -> dict[str, Study]:
    """Draw images with their masks by a bundle's own model, and write them in several formats and sizes."""
    network = Bundle(bundle).predictor().network
    folder.mkdir(parents=True, exist_ok=True)
    studies = {}
    for seed, (name, size) in enumerate(SIZES.items()):
        image, logits = network.sample(1, truncation=0.7, generator=torch.Generator().manual_seed(seed))
        grey = Image.fromarray(((image[0, 0].numpy() + 1) * 127.5).round().astype(np.uint8)).resize(size)
        mask = np.asarray(Image.fromarray((logits[0, 0].numpy() > 0).astype(np.uint8)).resize(size))
        studies[name] = Study(write_study(folder, name, grey), mask)
    return studies


def write_study(folder: Path, name: str, grey: Image.Image) -> Path:
    array = np.asarray(grey)
    if name == "dicom":
        return write_dicom(folder / "dicom.dcm", array.astype(np.uint16) * 16, PixelSpacing=[0.5, 0.25])
    if name == "nifti":
        # upright under this affine: columns to the left, rows to the feet
        file = folder / "nifti.nii.gz"
        nib.save(nib.Nifti1Image(array.T[..., None], oblique_affine()), file)
        return file
    file = folder / f"{name}{'.jpg' if name == 'jpeg' else '.png'}"
    grey.save(file, quality=95)
    return file


def write_scan(folder: Path) -> Path:
    """Write a CT volume, stored in an order of its own."""
    volume = np.where(ellipsoid((30, 26, 7)), 60, -900).astype(np.int16)
    volume += np.random.default_rng(0).integers(-20, 20, volume.shape, dtype=np.int16)
    return write_volume(folder / "scan.nii.gz", volume, affine_of(RIGHT, FRONT, FEET))


def dice(mask: np.ndarray, expected: np.ndarray) -> float:
    assert mask.shape == expected.shape
    return float(2 * (mask & expected).sum() / max(1, mask.sum() + expected.sum()))


def read_answer(file: str) -> np.ndarray:
    """The mask in an answer, ``(row, column)``, or ``(i, j, k)`` of a volume; values are 0 and 1."""
    if file.endswith(".png"):
        picture = Image.open(file)
        assert picture.mode == "L"
        mask = np.asarray(picture)
    else:
        image = nib.load(file)
        assert image.get_data_dtype() == np.uint8
        mask = np.asarray(image.dataobj)
        mask = mask[..., 0].T if mask.shape[2] == 1 else mask
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 1}
    return mask
