# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
import torch
from PIL import Image

pytest.importorskip("monailabel", reason="MONAI Label is not installed here: make test-label")

from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

from tests.label.label_server import (
    LESION,
    LIVER,
    LUNG,
    SIZES,
    Study,
    copy_bundle,
    dice,
    draw_studies,
    free_port,
    read_answer,
    serving,
    tiny_liver,
    wait_for_task,
    write_scan,
)

FEW_STEPS = {"refine_steps": 2}
REQUESTS, CLIENTS = 50, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("label")


@pytest.fixture(scope="module")
def bundles(folder: Path, repository: Path) -> dict[str, Path]:
    """Bundles that may be written to; the one of the last name lacks weights."""
    root = folder / "bundles"
    lacking = copy_bundle(repository, root / "more", LIVER).rename(root / "lacking")
    shutil.rmtree(lacking / "models")
    return {
        LUNG: copy_bundle(repository, root, LUNG),
        LESION: copy_bundle(repository, root, LESION),
        LIVER: tiny_liver(repository, root),
        "lacking": lacking,
    }


@pytest.fixture(scope="module")
def studies(folder: Path, bundles: dict[str, Path]) -> dict[str, Study]:
    studies = draw_studies(bundles[LUNG], folder / "studies")
    write_scan(folder / "studies")
    # a study that cannot be read must not keep the others from being learned and scored
    (folder / "studies" / "broken.png").write_text("no picture")
    return studies


@pytest.fixture(scope="module")
def url(folder: Path, bundles: dict[str, Path], studies: dict[str, Study]) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "monai_semgan", "label", str(folder / "studies")]
    command += ["--bundles", *map(str, bundles.values()), "--port", str(port), "--work-dir", str(folder / "app")]
    with serving(command, port, folder / "server.log", folder) as address:
        yield address


@pytest.fixture
def client(url: str, tmp_path: Path) -> MONAILabelClient:
    return MONAILabelClient(url, str(tmp_path))


def refused(function: Any, *args: Any, **kwargs: Any) -> tuple[int, str]:
    """Status and words of the answer to a request that must not be served."""
    with pytest.raises(MONAILabelClientException) as caught:
        function(*args, **kwargs)
    # the client puts both into its message
    status, _, response = caught.value.msg.removeprefix("Status: ").partition("; Response: ")
    return int(status), json.loads(response)["detail"]


def wait_for(client: MONAILabelClient, kind: str) -> dict[str, Any]:
    return wait_for_task(client.get_server_url(), kind)


def test_info_tells_models_options_and_what_lacks_weights(client: MONAILabelClient) -> None:
    info = client.info()
    assert set(info["models"]) == {LUNG, LESION, LIVER}
    assert "has no weights: train them" in info["lacking"]["lacking"]
    lung = info["models"][LUNG]
    assert lung["labels"] == {"lung": 1} and lung["dimension"] == 2
    assert lung["config"]["refine_steps"] == -1 and "_desc_" not in lung["config"]
    assert lung["config"]["model_filename"][-1] == "model.pt"
    assert info["models"][LIVER]["dimension"] == 3
    assert info["models"][LIVER]["config"]["preset"] == ["balanced", "fast", "best"]
    assert set(info["trainers"]) == set(info["scoring"]) == {LUNG, LESION, LIVER}
    assert f"least_understood_{LUNG}" in info["strategies"]
    assert info["datastore"]["total"] == len(SIZES) + 2


@pytest.mark.parametrize("name", SIZES)
def test_masks_are_those_of_their_images(client: MONAILabelClient, studies: dict[str, Study], name: str) -> None:
    study = studies[name]
    file, params = client.infer(LUNG, study.id, dict(FEW_STEPS))
    assert file.endswith(".nii.gz" if name in ("dicom", "nifti") else ".png")
    assert params["label_names"] == {"lung": 1}
    mask = read_answer(file)
    assert mask.shape[::-1] == SIZES[name]
    assert dice(mask, study.mask) > 0.85
    if name == "nifti":
        np.testing.assert_allclose(nib.load(file).affine, nib.load(study.file).affine, atol=1e-5)
    if name == "dicom":
        assert nib.load(file).header.get_zooms()[:2] == (0.25, 0.5)


def test_a_label_map_has_the_geometry_of_its_volume(client: MONAILabelClient, folder: Path) -> None:
    scan = nib.load(folder / "studies" / "scan.nii.gz")
    file, _ = client.infer(LIVER, "scan", {"preset": "fast"})
    answer = nib.load(file)
    assert answer.shape == scan.shape and answer.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(answer.affine, scan.affine)
    np.testing.assert_array_equal(answer.get_sform(), scan.get_sform())
    assert set(np.unique(np.asarray(answer.dataobj))) <= {0, 1}


def test_another_format_is_written_when_a_viewer_asks_for_it(
    client: MONAILabelClient, studies: dict[str, Study], folder: Path
) -> None:
    """3D Slicer and OHIF ask for NRRD."""
    import nrrd

    params = {"refine_steps": 0, "result_extension": ".nrrd", "result_dtype": "uint16", "result_compress": False}
    array, header = nrrd.read(client.infer(LIVER, "scan", dict(params))[0])
    scan = nib.load(folder / "studies" / "scan.nii.gz")
    assert array.shape == scan.shape and array.dtype == np.uint16
    # NRRD is in LPS
    np.testing.assert_allclose(header["space directions"].T, np.diag([-1, -1, 1]) @ scan.affine[:3, :3], atol=1e-6)
    array, header = nrrd.read(client.infer(LUNG, "dicom", dict(params))[0])
    assert array.shape == (*SIZES["dicom"], 1)
    assert dice(array[..., 0].T, studies["dicom"].mask) > 0.85
    np.testing.assert_allclose(np.linalg.norm(header["space directions"], axis=1)[:2], [0.25, 0.5])
    status, words = refused(client.infer, LUNG, "jpeg", {"result_extension": ".jpg"})
    assert status == 400 and ".png" in words


def test_an_uploaded_image_is_segmented(
    client: MONAILabelClient, studies: dict[str, Study], bundles: dict[str, Path], tmp_path: Path
) -> None:
    study = studies["other"]
    file, _ = client.infer(LUNG, "", dict(FEW_STEPS), file=str(study.file))
    assert dice(read_answer(file), study.mask) > 0.85
    photograph = tmp_path / "photograph.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(photograph)
    file, params = client.infer(LESION, "", {"refine_steps": 0}, file=str(photograph))
    assert read_answer(file).shape == (40, 60) and params["label_names"] == {"lesion": 1}


def test_what_cannot_be_served_is_refused_in_words(
    client: MONAILabelClient, studies: dict[str, Study], url: str, tmp_path: Path
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    mask, _ = client.infer(LUNG, "png", {"refine_steps": 0})
    cases: list[tuple[int, str, Any]] = [
        (422, "is damaged or not a PNG", lambda: client.infer(LUNG, "broken", {})),
        (422, "is damaged or not a PNG", lambda: client.infer(LUNG, "", {}, file=str(text))),
        (422, "is neither DICOM nor one of .dcm", lambda: client.infer(LIVER, "png", {})),
        (422, "modality is 'pet', known are ct", lambda: client.infer(LIVER, "scan", {"modality": "pet"})),
        (422, "not one 2-D image", lambda: client.infer(LUNG, "scan", {})),
        (404, "there is no image 'nowhere'", lambda: client.infer(LUNG, "nowhere", {})),
        (404, "there is no model 'nothing'", lambda: client.infer("nothing", "png", {})),
        (404, "has no weights: train them", lambda: client.infer("lacking", "scan", {})),
        (400, "Neither Image nor File", lambda: client.infer(LUNG, "", {})),
        (400, "refine_steps is -2", lambda: client.infer(LUNG, "png", {"refine_steps": -2})),
        (400, "refine_steps is 'many'", lambda: client.infer(LUNG, "png", {"refine_steps": "many"})),
        (400, "there is model.pt", lambda: client.infer(LUNG, "png", {"model_filename": "../../other.pt"})),
        (
            400,
            "preset is 'slow', there is balanced",
            lambda: client.infer(LIVER, "scan", {"preset": "slow"}),
        ),
        (400, "device is 'abacus'", lambda: client.infer(LUNG, "png", {"device": "abacus"})),
        (404, "there is no strategy 'wish'", lambda: client.next_sample("wish", {})),
        (404, "there is no model 'nothing'", lambda: client.train_start("nothing", {})),
        (404, "Image nowhere not found", lambda: client.save_label("nowhere", mask, "final")),
        (422, "the label is refused", lambda: client.save_label("png", str(text), "final")),
        (422, "on another grid", lambda: client.save_label("jpeg", mask, "final")),
    ]
    for status, words, request in cases:
        answer = refused(request)
        assert answer[0] == status and words in answer[1], answer
    assert client.info()["datastore"]["completed"] == 0


def test_answers_go_to_those_who_asked_also_among_bad_requests(
    client: MONAILabelClient, url: str, studies: dict[str, Study], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {name: read_answer(client.infer(LUNG, study.id, dict(FEW_STEPS))[0]) for name, study in studies.items()}
    names = list(studies)
    bad = {3: "nowhere", 5: "scan", 8: "broken"}
    results: dict[int, tuple[float, Any]] = {}

    def ask(first: int) -> None:
        folder = tmp_path / str(first)
        folder.mkdir()
        own = MONAILabelClient(url, str(folder))
        for number in range(first, REQUESTS, CLIENTS):
            image = bad.get(number % 10, studies[names[number % len(names)]].id)
            start = time.time()
            try:
                answer: Any = read_answer(own.infer(LUNG, image, dict(FEW_STEPS))[0])
            except MONAILabelClientException as error:
                answer = error.msg
            results[number] = time.time() - start, answer

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(REQUESTS))
    for number, (_, answer) in results.items():
        if number % 10 in bad:
            assert answer.startswith("Status: 4"), answer
        else:
            np.testing.assert_array_equal(answer, expected[names[number % len(names)]])
    assert client.info()["models"]
    served = np.sort([seconds for number, (seconds, _) in results.items() if number % 10 not in bad])
    with capsys.disabled():
        print(
            f"\n{REQUESTS} requests of {CLIENTS} clients, {len(served)} served: median {np.median(served):.2f} s, "
            f"95 % {np.quantile(served, 0.95):.2f} s, longest {served[-1]:.2f} s"
        )


def test_answers_leave_when_they_are_ready(client: MONAILabelClient, url: str) -> None:
    begin = time.time()
    ends: list[float] = []

    def ask() -> None:
        assert requests.post(f"{url}/infer/{LUNG}?image=png").status_code == 200
        ends.append(time.time() - begin)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    client.info()
    told = time.time() - begin
    for thread in threads:
        thread.join()
    assert len(ends) == 8 and min(ends) < max(ends) / 2 and told < max(ends) / 2


def test_annotators_correct_the_model_learns_and_the_next_study_is_the_least_understood(
    client: MONAILabelClient,
    url: str,
    studies: dict[str, Study],
    bundles: dict[str, Path],
    folder: Path,
    tmp_path: Path,
) -> None:
    strategy = f"least_understood_{LUNG}"
    assert refused(client.train_start, LUNG, {}) == (409, "no study has a label yet: save one with the tag final first")

    # asked for the first time it has no scores, serves a study, and scores all in the background
    assert client.next_sample(strategy, {})["id"] in [study.id for study in studies.values()] + ["broken", "scan"]
    assert wait_for(client, "scoring")["status"] == "DONE"
    scores = json.loads((folder / "studies" / f"scores_{LUNG}.json").read_text())["scores"]
    assert scores["broken"] is None and scores["scan"] is None
    scored = [study.id for study in studies.values()]
    assert all(0 <= scores[name]["spread"] <= 1 and 0 < scores[name]["reconstruction_error"] for name in scored)
    served = [client.next_sample(strategy, {}) for _ in range(3)]
    ranks = [sample["rank"] for sample in served]
    assert ranks == sorted(ranks, reverse=True) and len({sample["id"] for sample in served}) == 3

    # corrected: the true masks
    for name in ("png", "jpeg"):
        study = studies[name]
        label = tmp_path / f"{name}.png"
        Image.fromarray(study.mask * np.uint8(255)).save(label)
        assert client.save_label(study.id, str(label), "final")["label"] == study.id
    status = client.info()["datastore"]
    assert status["completed"] == 2
    assert client.next_sample(strategy, {})["id"] not in ("png", "jpeg")

    before = read_answer(client.infer(LUNG, "other", dict(FEW_STEPS))[0])
    shipped = bundles[LUNG] / "models" / "model.pt"
    weights = shipped.read_bytes()
    client.train_start(LUNG, {"max_epochs": 1, "steps_per_epoch": 2})
    task = wait_for(client, "train")
    assert task["status"] == "DONE", task["details"]
    assert shipped.read_bytes() == weights
    learned = torch.load(bundles[LUNG] / "models" / "model_v2.pt", weights_only=True)
    old = torch.load(shipped, weights_only=True)
    # older weights lack what was never fitted
    assert set(old) <= set(learned)
    moved = {name for name, value in old.items() if not torch.equal(value, learned[name])}
    assert any(name.startswith("encoder.") for name in moved) and any("to_label." in name for name in moved)
    assert not any(name.startswith(("generator.mapping", "prior.")) for name in moved)
    info = client.info()
    assert info["models"][LUNG]["config"]["model_filename"] == ["model_v2.pt", "model.pt"]
    report = info["train_stats"][LUNG]["model_v2.pt"]
    # broken and scan are no images for this model
    assert (report["start"], report["labels"], report["images"], report["steps"]) == ("model.pt", 2, len(SIZES), 2)

    # the new version answers, the old one when it is named
    after = read_answer(client.infer(LUNG, "other", dict(FEW_STEPS))[0])
    assert dice(after, studies["other"].mask) > 0.85
    named = read_answer(client.infer(LUNG, "other", FEW_STEPS | {"model_filename": "model.pt"})[0])
    np.testing.assert_array_equal(named, before)
    # scores are of the new version
    assert wait_for(client, "scoring")["status"] == "DONE"
    assert json.loads((folder / "studies" / f"scores_{LUNG}.json").read_text())["version"][0] == "model_v2.pt"


def test_a_training_can_be_stopped_and_leaves_no_version(client: MONAILabelClient, bundles: dict[str, Path]) -> None:
    """Runs after the test above, which saved labels."""
    models = sorted(path.name for path in (bundles[LUNG] / "models").iterdir())
    client.train_start(LUNG, {"max_epochs": 1, "steps_per_epoch": 100_000})
    end = time.time() + 120
    while "Engine run" not in "".join(client.train_status().get("details") or []) and time.time() < end:
        time.sleep(0.5)
    assert client.train_status()["status"] == "RUNNING" and client.train_status(check_if_running=True)
    # one at a time
    assert refused(client.train_start, LUNG, {})[0] == 429
    assert client.train_stop()["status"] == "STOPPED"
    assert wait_for(client, "train")["status"] == "STOPPED" and not client.train_status(check_if_running=True)
    assert sorted(path.name for path in (bundles[LUNG] / "models").iterdir()) == models
