# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A server of the studies of a PACS."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import requests
from PIL import Image

pytest.importorskip("monailabel", reason="MONAI Label is not installed here: make test-label")

import highdicom
from pydicom.sr.coding import Code
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, generate_uid
from requests_toolbelt.multipart import decoder

from monai_semgan.bundle import Bundle
from tests.image_files import write_dicom
from tests.label.label_server import LIVER, LUNG, copy_bundle, free_port, serving, tiny_liver, wait_for_task
from tests.label.orthanc import orthanc, upload
from tests.volume_files import BACK, HEAD, LEFT, affine_of, ellipsoid, write_series

# rows and columns of X-rays
SHAPE = (130, 110)
VOLUME = (30, 26, 7)


@dataclass(frozen=True)
class Hospital:
    """A PACS, its images by name, and the address of a server over it."""

    pacs: str
    url: str
    ids: dict[str, str]
    folder: Path


def write_xray(path: Path, grey: np.ndarray, **tags: Any) -> str:
    """Write a projection image as hospitals do, without a place in the patient, and give its series."""
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID")}
    known = {"PatientID": "7", "PatientName": "A^B", "BodyPartExamined": "CHEST", "ImagerPixelSpacing": [0.2, 0.2]}
    write_dicom(path, grey.astype(np.uint16) * 16, **{**uids, **known, **tags})
    return str(pydicom.dcmread(path).SeriesInstanceUID)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Hospital]:
    root = tmp_path_factory.mktemp("pacs")
    lung, liver = copy_bundle(repository, root / "bundles", LUNG), tiny_liver(repository, root / "bundles")
    image, _ = Bundle(lung).predictor().network.sample(1, truncation=0.7)
    grey = np.asarray(Image.fromarray(((image[0, 0].numpy() + 1) * 127.5).round().astype(np.uint8)).resize(SHAPE[::-1]))
    files = root / "files"
    files.mkdir()
    dx = {"Modality": "DX", "SOPClassUID": DigitalXRayImageStorageForPresentation, "ViewPosition": "PA"}
    ids = {"cr": write_xray(files / "cr.dcm", grey), "dx": write_xray(files / "dx.dcm", grey[:, ::-1], **dx)}
    two = {**dx, "StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    for name in ("two_a", "two_b"):
        write_xray(files / f"{name}.dcm", grey, **two)
        ids[name] = str(pydicom.dcmread(files / f"{name}.dcm").SOPInstanceUID)
    random = np.random.default_rng(0)
    volume = np.where(ellipsoid(VOLUME), 1084, 24) + random.integers(0, 30, VOLUME)
    tags = {"StudyInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid(), "PatientID": "8"}
    tags |= {"SOPClassUID": CTImageStorage, "RescaleIntercept": -1024, "RescaleSlope": 1, "PatientName": "C^D"}
    slices = write_series(files / "ct", volume, affine_of(LEFT, BACK, HEAD), **tags)
    ids["ct"] = str(pydicom.dcmread(slices[0]).SeriesInstanceUID)
    write_xray(files / "other.dcm", grey, Modality="US")
    with orthanc(root / "orthanc") as pacs, pytest.MonkeyPatch.context() as patch:
        upload(pacs, [*files.glob("*.dcm"), *slices])
        patch.setenv("MONAI_LABEL_DICOMWEB_CACHE_PATH", str(root / "cache"))
        port = free_port()
        command = [sys.executable, "-m", "monai_semgan", "label", f"{pacs}/dicom-web", "--port", str(port)]
        command += ["--bundles", str(lung), str(liver), "--work-dir", str(root / "app")]
        with serving(command, port, root / "server.log", root) as url:
            yield Hospital(pacs, url, ids, files)


def infer(hospital: Hospital, model: str, name: str, **query: Any) -> requests.Response:
    params = {"image": hospital.ids[name], **query}
    response = requests.post(f"{hospital.url}/infer/{model}", params=params, data={"params": '{"preset": "fast"}'})
    assert response.status_code == 200, response.text
    return response


def mask_of(hospital: Hospital, model: str, name: str, folder: Path) -> Path:
    """The file of a model's mask."""
    parts = decoder.MultipartDecoder.from_response(infer(hospital, model, name)).parts
    (content,) = [part.content for part in parts if b"image" in part.headers[b"Content-Disposition"]]
    file = folder / f"{name}.nii.gz"
    file.write_bytes(content)
    return file


def save(hospital: Hospital, name: str, file: Path, **params: Any) -> requests.Response:
    query = {"image": hospital.ids.get(name, name), "tag": "final"}
    files = {"label": (file.name, file.read_bytes())}
    return requests.put(
        f"{hospital.url}/datastore/label", params=query, data={"params": json.dumps(params)}, files=files
    )


def segs(hospital: Hospital, name: str) -> list[pydicom.Dataset]:
    """The labels of an image in the PACS, in their order."""
    found = requests.post(f"{hospital.pacs}/tools/find", json={"Level": "Instance", "Query": {"Modality": "SEG"}})
    read = [
        pydicom.dcmread(io.BytesIO(requests.get(f"{hospital.pacs}/instances/{uid}/file").content))
        for uid in found.json()
    ]
    own = [seg for seg in read if hospital.ids[name] == seg.ReferencedSeriesSequence[0].SeriesInstanceUID]
    return sorted(own, key=lambda seg: int(seg.InstanceNumber))


def pixels(seg: pydicom.Dataset, sources: list[pydicom.Dataset]) -> np.ndarray:
    """What a DICOM SEG says of its images, read by highdicom, ``(image, row, column)``."""
    read = highdicom.seg.Segmentation.from_dataset(seg)
    return read.get_pixels_by_source_instance(
        [source.SOPInstanceUID for source in sources],
        combine_segments=True,
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )


def state(hospital: Hospital) -> tuple[int, int]:
    status = requests.get(f"{hospital.url}/datastore/").json()
    return status["total"], status["completed"]


def test_images_of_the_bundles_modalities_are_listed(hospital: Hospital) -> None:
    assert state(hospital) == (len(hospital.ids), 0)
    served = requests.post(f"{hospital.url}/activelearning/first", json={}).json()
    assert served["id"] == min(hospital.ids.values()) and served["StudyInstanceUID"]
    # of one organ's modalities
    served = requests.post(f"{hospital.url}/activelearning/first", json={"labels": ["liver"]}).json()
    assert served["id"] == hospital.ids["ct"]


@pytest.mark.parametrize(("name", "model", "term"), [("cr", LUNG, "39607008"), ("dx", LUNG, "39607008")])
def test_an_answer_may_be_dicom_seg(hospital: Hospital, tmp_path: Path, name: str, model: str, term: str) -> None:
    response = infer(hospital, model, name, output="dicom_seg")
    assert response.headers["content-type"] == "application/dicom"
    seg = pydicom.dcmread(io.BytesIO(response.content))
    (segment,) = seg.SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == term
    assert segment.SegmentAlgorithmType == "AUTOMATIC" and "FrameOfReferenceUID" not in seg
    source = pydicom.dcmread(hospital.folder / f"{name}.dcm")
    mask = np.asarray(nib.load(mask_of(hospital, model, name, tmp_path)).dataobj)[..., 0].T
    assert mask.any()
    np.testing.assert_array_equal(pixels(seg, [source])[0] > 0, mask > 0)


def test_labels_are_stored_with_history_and_the_lists_are_current(hospital: Hospital, tmp_path: Path) -> None:
    file = mask_of(hospital, LUNG, "cr", tmp_path)
    assert save(hospital, "cr", file).status_code == 200
    assert state(hospital)[1] == 1
    corrected = nib.load(file)
    array = np.asarray(corrected.dataobj).copy()
    array[20:30, 20:30] = 1 - array[20:30, 20:30]
    nib.save(nib.Nifti1Image(array, corrected.affine, corrected.header), file)
    assert save(hospital, "cr", file, reader="Doe^Ann").status_code == 200
    assert state(hospital)[1] == 1
    first, second = segs(hospital, "cr")
    assert first.SeriesInstanceUID == second.SeriesInstanceUID and second.InstanceNumber == 2
    kinds = [seg.SegmentSequence[0].SegmentAlgorithmType for seg in (first, second)]
    assert kinds == ["AUTOMATIC", "SEMIAUTOMATIC"] and second.ContentCreatorName == "Doe^Ann"
    source = pydicom.dcmread(hospital.folder / "cr.dcm")
    np.testing.assert_array_equal(pixels(second, [source])[0] > 0, array[..., 0].T > 0)
    # what is learned is the newest
    (pair,) = requests.get(f"{hospital.url}/datastore/?output=train").json()
    np.testing.assert_array_equal(np.asarray(nib.load(pair["label"]).dataobj), array)
    served = {requests.post(f"{hospital.url}/activelearning/first", json={}).json()["id"] for _ in range(2)}
    assert hospital.ids["cr"] not in served


def test_a_label_of_a_volume_made_by_hand(hospital: Hospital) -> None:
    """Bytes alone, as OHIF sends them."""
    mask = ellipsoid(VOLUME, radius=0.4).astype(np.uint8)
    file = hospital.folder / "hand.bin"
    file.write_bytes(mask.tobytes(order="F"))
    before = state(hospital)[1]
    assert save(hospital, "ct", file).status_code == 200
    assert state(hospital)[1] == before + 1
    (seg,) = segs(hospital, "ct")
    (segment,) = seg.SegmentSequence
    assert segment.SegmentAlgorithmType == "MANUAL"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    sources = sorted(
        map(pydicom.dcmread, (hospital.folder / "ct").iterdir()), key=lambda one: one.ImagePositionPatient[2]
    )
    assert seg.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    np.testing.assert_array_equal(pixels(seg, sources).transpose(2, 1, 0) > 0, mask > 0)


def test_labels_that_do_not_fit_are_refused(hospital: Hospital, tmp_path: Path) -> None:
    file = mask_of(hospital, LUNG, "dx", tmp_path)
    image = nib.load(file)
    array = np.asarray(image.dataobj)
    cases: dict[str, tuple[bytes, str]] = {}
    for name, changed, words in (
        ("grid", array[:-1], "on another grid"),
        ("empty", array * 0, "nothing is marked"),
        ("classes", array + np.eye(*array.shape[:2], dtype=np.uint8)[..., None] * 2, "values"),
    ):
        path = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(changed, image.affine), path)
        cases[path.name] = path.read_bytes(), words
    cases["short.bin"] = b"\1\0\1", "3 bytes"
    cases["broken.dcm"] = b"no picture", "refused"
    cases["text.nrrd"] = b"", "refused"
    before = state(hospital)
    for name, (content, words) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        response = save(hospital, "dx", path)
        assert 400 <= response.status_code < 500 and words in response.json()["detail"], (name, response.text)
    response = save(hospital, "1.2.3", file)
    assert response.status_code == 404 and "1.2.3" in response.json()["detail"]
    for response in (
        requests.post(f"{hospital.url}/infer/{LUNG}?image=1.2.3"),
        requests.get(f"{hospital.url}/datastore/image?image=1.2.3"),
        requests.get(f"{hospital.url}/datastore/label?label=1.2.3&tag=final"),
        requests.put(f"{hospital.url}/datastore/image?image=a", files={"file": ("a.dcm", b"")}),
        requests.delete(f"{hospital.url}/datastore/image?id={hospital.ids['cr']}"),
    ):
        assert 400 <= response.status_code < 500 and response.json()["detail"], response.text
    assert state(hospital) == before


def test_a_label_of_another_program_is_learned(hospital: Hospital, tmp_path: Path) -> None:
    source = pydicom.dcmread(hospital.folder / "dx.dcm")
    mask = np.zeros((1, *SHAPE), dtype=np.uint8)
    mask[0, 20:90, 20:50] = 1
    family = Code("123109", "DCM", "Manual Processing")
    algorithm = highdicom.AlgorithmIdentificationSequence("x", family, "1")
    anatomy, spleen = Code("91723000", "SCT", "Anatomical Structure"), Code("78961009", "SCT", "Spleen")
    described = highdicom.seg.SegmentDescription(1, "organ", anatomy, spleen, "AUTOMATIC", algorithm)
    for tag in ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
        setattr(source, tag, None)
    seg = highdicom.seg.Segmentation(
        [source], mask, "BINARY", [described], generate_uid(), 9, generate_uid(), 1, "other", "other", "1", "1"
    )
    seg.save_as(tmp_path / "other.dcm")
    upload(hospital.pacs, [tmp_path / "other.dcm"])
    requests.get(f"{hospital.url}/proxy/dicom/studies")
    pairs = wait_for_pairs(hospital, hospital.ids["dx"])
    np.testing.assert_array_equal(np.asarray(nib.load(pairs).dataobj)[..., 0].T, mask[0])
    assert (
        requests.post(f"{hospital.url}/train/{LUNG}", json={"max_epochs": 1, "steps_per_epoch": 1}).status_code == 200
    )
    task = wait_for_task(hospital.url, "train")
    assert task["status"] == "DONE", task["details"]


def wait_for_pairs(hospital: Hospital, image: str) -> str:
    """The label that would be learned of an image, once the list is current again."""
    for _ in range(20):
        pairs = requests.get(f"{hospital.url}/datastore/?output=train").json()
        if found := [pair["label"] for pair in pairs if image in pair["image"]]:
            return found[0]
        time.sleep(0.5)
    raise AssertionError(pairs)


def test_a_volume_is_downloaded_as_one_file_on_which_its_mask_lies(hospital: Hospital, tmp_path: Path) -> None:
    """As 3D Slicer does."""
    mask = nib.load(mask_of(hospital, LIVER, "ct", tmp_path))
    response = requests.get(f"{hospital.url}/datastore/image", params={"image": hospital.ids["ct"]})
    file = tmp_path / "image.nii.gz"
    file.write_bytes(response.content)
    image = nib.load(file)
    assert image.shape == mask.shape == VOLUME
    np.testing.assert_allclose(image.affine, mask.affine, atol=1e-5)
    slices = sorted(map(pydicom.dcmread, (hospital.folder / "ct").iterdir()), key=lambda s: s.ImagePositionPatient[2])
    expected = np.stack([one.pixel_array.T for one in slices], axis=-1).astype(float) - 1024
    np.testing.assert_array_equal(np.asarray(image.dataobj), expected)
