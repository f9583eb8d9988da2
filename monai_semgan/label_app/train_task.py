# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Fine-tuning of a bundle on an annotator's studies, for MONAI Label."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monailabel.interfaces.datastore import Datastore
from monailabel.tasks.train.bundle import BundleConstants, BundleTrainTask
from monailabel.utils.others.generic import device_list

from monai_semgan.label_app.bad_request import BadRequest
from monai_semgan.label_app.bundle_folder import next_version, versions

logger = logging.getLogger(__name__)

# merged in this order, the settings of the run after them
CONFIGS = ("configs/train_encoder.yaml", "configs/fine_tune.yaml")
# with fewer labels none is held out
HOLD_OUT_FROM = 10
SETTINGS = ("max_epochs", "steps_per_epoch")


class FineTuneConstants(BundleConstants):
    """Which config of a bundle MONAI Label trains by."""

    def configs(self) -> Sequence[str]:
        """File names, the first that exists is taken."""
        return ["fine_tune.yaml"]


class SemanticGANTrainTask(BundleTrainTask):
    """A ``BundleTrainTask`` that fine-tunes by a bundle's configs/fine_tune.yaml.

    Labels marked as final and the images of all studies, labelled or not, are learned. The weights go to a new version
    beside those that the training started from, and a JSON file beside them says how Dice on held-out labels changed.

    Args:
        path: the bundle's folder.
        conf: the app's settings.
    """

    def __init__(self, path: Path, conf: dict[str, str]) -> None:
        super().__init__(str(path), conf, const=FineTuneConstants())
        self.folder = path
        self.unlabelled: list[str] = []

    def config(self) -> dict[str, Any]:
        """The options of the client."""
        settings = ConfigParser.load_config_file(self.bundle_config_path)
        return {
            "device": device_list(),
            **{name: settings[name] for name in SETTINGS},
            "val_split": 0.2,
            "model_filename": versions(self.folder),
        }

    def stats(self) -> dict[str, Any]:
        """What the fine-tunings did, by version."""
        reports = {name: self.folder / "models" / f"{Path(name).stem}.json" for name in versions(self.folder)}
        return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in reports.items() if file.is_file()}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict:
        """Fine-tune, and write the new version; see ``BundleTrainTask``.

        Raises:
            BadRequest: when no study has a final label, or the version to start from does not exist.
            RuntimeError: when the training fails.
        """
        self.check(request, datastore)
        chosen = self.config() | request
        # of a list of choices the first is the default
        chosen = {name: value[0] if isinstance(value, list) else value for name, value in chosen.items()}
        # its several GPUs are for trainings of hours
        return super().__call__(chosen | {"multi_gpu": False, "tracking": "None"}, datastore)

    def check(self, request: dict[str, Any], datastore: Datastore) -> None:
        """Refuse what cannot be trained."""
        start = request.get("model_filename")
        if isinstance(start, str) and start not in versions(self.folder):
            raise BadRequest(f"model_filename is {start!r}, there is {', '.join(versions(self.folder))}")
        if not datastore.get_labeled_images():
            raise BadRequest("no study has a label yet: save one with the tag final first", 409)

    def _fetch_datalist(self, request: dict[str, Any], datastore: Datastore) -> list[dict[str, str]]:
        self.unlabelled = [datastore.get_image_uri(image) for image in sorted(datastore.get_unlabeled_images())]
        return super()._fetch_datalist(request, datastore)

    def _partition_datalist(
        self, datalist: list[dict[str, str]], request: dict[str, Any], shuffle: bool = False
    ) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        share = float(request["val_split"]) if len(datalist) >= HOLD_OUT_FROM else 0.0
        # by the name, so that a label that was held out never teaches a later version
        held_out = [zlib.crc32(Path(item["image"]).name.encode()) % 1000 < 1000 * share for item in datalist]
        learned = [item for item, out in zip(datalist, held_out) if not out]
        return learned, [item for item, out in zip(datalist, held_out) if out]

    def _load_bundle_config(self, path: str, config: str) -> ConfigParser:
        parser = ConfigParser()
        parser.read_config([str(Path(path, file)) for file in CONFIGS])
        return parser

    def _load_checkpoint(self, model_pytorch: str, pretrained: bool, train_handlers: list) -> None:
        """The config loads the weights by itself."""

    def run_single_gpu(self, request: dict[str, Any], overrides: dict[str, Any]) -> None:
        """Train in a process of its own, in the bundle's folder, to which paths in its configs are relative."""
        start = request["model_filename"]
        version = next_version(self.folder)
        output = self.folder / "runs" / Path(version).stem
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        pairs, held_out = overrides["train#dataset#data"], overrides["validate#dataset#data"]
        images = [item["image"] for item in pairs + held_out] + self.unlabelled
        settings = {
            **{name: int(request[name]) for name in SETTINGS},
            "device": f"$torch.device({overrides['device']!r})",
            "start_ckpt_path": str(self.folder / "models" / start),
            "ckpt_path": str(self.folder / "models" / version),
            "output_dir": str(output),
            "train::dataset::data": pairs,
            "train::unlabeled_dataset::data": [{"image": image} for image in images],
            "validate::dataset::data": held_out,
        }
        file = output / "settings.json"
        file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        logger.info("%d labels, %d held out, %d images: %s", len(pairs), len(held_out), len(images), version)
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str([*CONFIGS, str(file)])]
        command += ["--meta_file", "configs/metadata.json", "--logging_file", "configs/logging.conf"]
        code = subprocess.run(command, cwd=self.folder).returncode
        if code != 0:
            raise RuntimeError(f"the training of {version} ended with exit code {code}, see the messages above")
