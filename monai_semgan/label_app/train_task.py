# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Fine-tuning of a bundle on an annotator's studies, for MONAI Label."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.async_tasks.utils import processes
from monailabel.utils.others.generic import device_list, name_to_device

from monai_semgan.bundle import Bundle
from monai_semgan.data import failure_reason
from monai_semgan.formats import FormatReader
from monai_semgan.label_app.background import PARENT, is_locked, locked
from monai_semgan.label_app.infer_task import number
from monai_semgan.label_app.refusal import BadRequest

logger = logging.getLogger(__name__)

# merged in this order, the settings of the run after them
CONFIGS = ("train_encoder.yaml", "fine_tune.yaml")
# with fewer labels none is held out
HOLD_OUT_FROM = 10
SETTINGS = ("max_epochs", "steps_per_epoch")
# seconds that a training waits for the end of one whose server was killed
PATIENCE = 20


class SemanticGANTrainTask(TrainTask):
    """A ``TrainTask`` that fine-tunes by a bundle's configs/fine_tune.yaml.

    Labels marked as final and the images of all studies, labelled or not, are learned. The weights go to a new version
    beside those that the training started from, and a JSON file beside them says how Dice on held-out labels changed.

    Args:
        bundle: the bundle.
    """

    def __init__(self, bundle: Bundle) -> None:
        metadata, settings = bundle.metadata, bundle.read(*CONFIGS)
        super().__init__(metadata["description"])
        self.bundle = bundle
        # read once: clients ask often
        self.version = metadata["version"]
        self.lengths = {name: settings[name] for name in SETTINGS}
        self.dims = bundle.spatial_dims
        self.lock = bundle.root / "runs" / ".training.lock"

    def info(self) -> dict[str, Any]:
        """What clients are told of the training."""
        return {**super().info(), "version": self.version}

    def config(self) -> dict[str, Any]:
        """The options of the client."""
        return {
            "device": device_list(),
            **self.lengths,
            "val_split": 0.2,
            "model_filename": self.bundle.weights(),
        }

    def stats(self) -> dict[str, Any]:
        """What the fine-tunings did, by version."""
        reports = {name: self.bundle.root / "models" / f"{Path(name).stem}.json" for name in self.bundle.weights()}
        return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in reports.items() if file.is_file()}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Fine-tune in a process of its own as a client chose, and write the new version, of which :meth:`stats` tells.

        Raises:
            BadRequest: when no study has a final label, or the version to start from does not exist.
            RuntimeError: when the training fails, or another one of the bundle goes on.
        """
        self.check(request, datastore)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with locked(self.lock) as lock:
                    return self.run(request, datastore, lock)
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise RuntimeError(
                        f"another training of {self.bundle.name} goes on: {self.lock} is held"
                    ) from error
                time.sleep(0.5)

    def run(self, request: dict[str, Any], datastore: Datastore, lock: int) -> dict[str, Any]:
        """Fine-tune while a lock is held, which the training's process inherits."""
        chosen = self.config() | request
        # of a list of choices the first is the default
        chosen = {name: value[0] if isinstance(value, list) else value for name, value in chosen.items()}
        root, version = self.bundle.root, self.bundle.next_weights()
        output = root / "runs" / Path(version).stem
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        pairs = kept(datastore.datalist(), output / "labels", self.dims)
        images = [item["image"] for item in pairs]
        images += [datastore.get_image_uri(image) for image in sorted(datastore.get_unlabeled_images())]
        images = [image for image in images if image and Path(image).exists()]
        learned, held_out = split(pairs, float(chosen["val_split"]))
        settings = {
            **{name: int(chosen[name]) for name in SETTINGS},
            "device": f"$torch.device({name_to_device(chosen['device'])!r})",
            "start_ckpt_path": str(root / "models" / chosen["model_filename"]),
            "ckpt_path": str(root / "models" / version),
            "output_dir": str(output),
            "train::dataset::data": learned,
            "train::unlabeled_dataset::data": [{"image": image} for image in images],
            "validate::dataset::data": held_out,
        }
        file = output / "settings.json"
        file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        logger.info("%d labels, %d held out, %d images: %s", len(learned), len(held_out), len(images), version)
        configs = [*(f"configs/{name}" for name in CONFIGS), str(file)]
        command = [sys.executable, "-m", "monai_semgan.label_app.fine_tune", *configs]
        own = {**os.environ, PARENT: str(os.getpid())}
        code = subprocess.run(command, cwd=root, pass_fds=(lock,), env=own).returncode
        if code != 0:
            raise RuntimeError(f"the training of {version} ended with exit code {code}, see the messages above")
        return {}

    def check(self, request: dict[str, Any], datastore: Datastore) -> None:
        """Refuse what cannot be trained."""
        start, known = request.get("model_filename"), self.bundle.weights()
        if isinstance(start, str) and start not in known:
            raise BadRequest(f"model_filename is {start!r}, there is {', '.join(known)}")
        for name in (name for name in SETTINGS if name in request):
            number(name, request[name], int)
        if not datastore.get_labeled_images():
            raise BadRequest("no study has a label yet: save one with the tag final first", 409)
        if not processes("train") and is_locked(self.lock):
            raise BadRequest(
                f"a training of {self.bundle.name} goes on that another server started: wait for its end", 429
            )


def kept(pairs: Sequence[Mapping[str, Any]], folder: Path, spatial_dims: int) -> list[dict[str, str]]:
    """Copy labels, which may be corrected or deleted while they are learned, and leave out what cannot be learned.

    Args:
        pairs: "image" and "label", paths.
        folder: where the labels go.
        spatial_dims: 2 for a bundle of images, 3 for one of volumes.

    Returns:
        The pairs with the copies.

    Raises:
        RuntimeError: when none is left.
    """
    folder.mkdir(parents=True)
    reader = FormatReader(spatial_dims, label=True)
    found = []
    for index, item in enumerate(pairs):
        # no two of one name, and the name tells the format
        copy = folder / f"{index}_{Path(item['label']).name}"
        try:
            shutil.copyfile(item["label"], copy)
            reader.get_data(reader.read(item["image"]))
        except (ValueError, OSError) as error:
            logger.warning("left out, it is not for this bundle, or was deleted: %s", failure_reason(error))
        else:
            found.append({"image": item["image"], "label": str(copy)})
    if not found:
        raise RuntimeError("no label is left to learn: they are of other images, or were deleted")
    return found


def split(pairs: list[dict[str, str]], share: float) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Part pairs of image and label into those learned and a share held out, from :data:`HOLD_OUT_FROM` pairs on.

    They are chosen by their names, so that a label that was held out never teaches a later version.
    """
    limit = 1000 * share if len(pairs) >= HOLD_OUT_FROM else 0
    held_out = [zlib.crc32(Path(item["image"]).name.encode()) % 1000 < limit for item in pairs]
    learned = [item for item, out in zip(pairs, held_out) if not out]
    return learned, [item for item, out in zip(pairs, held_out) if out]
