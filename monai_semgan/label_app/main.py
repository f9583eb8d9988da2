# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The app: bundles as models, their fine-tuning, and the choice of the next image to label."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import requests
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import ImageNotFoundException
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random
from monailabel.utils.async_tasks.utils import tasks

import monai_semgan
from monai_semgan.data import failure_reason
from monai_semgan.label_app.active_learning import LeastUnderstood, Readable, UnderstandingScore
from monai_semgan.label_app.background import PARENT, in_background
from monai_semgan.label_app.infer_task import SemanticGANInferTask, is_upload, most_classes
from monai_semgan.label_app.names import check_name
from monai_semgan.label_app.pacs import PacsStudies
from monai_semgan.label_app.refusal import BadRequest
from monai_semgan.label_app.start import open_bundles
from monai_semgan.label_app.study_folder import StudyFolder
from monai_semgan.label_app.train_task import SemanticGANTrainTask

logger = logging.getLogger(__name__)


class SemanticGANApp(MONAILabelApp):
    """MONAI Label's app for SemanticGAN bundles.

    Args:
        app_dir: the app's folder.
        studies: folder of the studies, or the address of a DICOMweb server.
        conf: settings: ``bundles``, their folders as a JSON list.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        in_background()
        bundles = open_bundles(json.loads(conf.get("bundles", "[]")))
        # why models are left out, by name; what else there is, is served
        self.lacking = {name: words for name, bundle in bundles.items() if (words := bundle.lacking())}
        self.models: dict[str, SemanticGANInferTask] = {}
        self.trainings: dict[str, SemanticGANTrainTask] = {}
        for name, bundle in bundles.items():
            if name not in self.lacking:
                try:
                    self.models[name], self.trainings[name] = SemanticGANInferTask(bundle), SemanticGANTrainTask(bundle)
                except Exception as error:
                    logger.debug("a bundle cannot be opened", exc_info=True)
                    self.models.pop(name, None)
                    self.lacking[name] = f"{name} cannot be opened: {failure_reason(error)}: see {bundle.root}"
        for words in self.lacking.values():
            logger.warning("left out: %s", words)
        super().__init__(
            app_dir,
            studies,
            conf,
            name="monai-semgan",
            description="Segmentation with few labels by SemanticGAN",
            version=monai_semgan.__version__,
        )

    def init_datastore(self) -> Datastore:
        """Make the datastore of the folder, or of the PACS."""
        if self.studies.startswith(("http://", "https://")):
            return PacsStudies(self.studies, self.models)
        return StudyFolder(
            self.studies,
            classes=most_classes(self.models.values()),
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def init_infers(self) -> dict[str, SemanticGANInferTask]:
        """Give the models."""
        return self.models

    def init_trainers(self) -> dict[str, SemanticGANTrainTask]:
        """Give their fine-tunings."""
        return self.trainings

    def init_scoring_methods(self) -> dict[str, UnderstandingScore]:
        """Make the scores of how badly each model understands the studies."""
        folder = Path(self.studies if os.path.isdir(self.studies) else self.app_dir)
        return {name: UnderstandingScore(task, folder / f"scores_{name}.json") for name, task in self._infers.items()}

    def init_strategies(self) -> dict[str, Any]:
        """Make the strategies that choose the next image."""
        methods = self.init_scoring_methods()
        chosen = {f"least_understood_{name}": LeastUnderstood(method) for name, method in methods.items()}
        return {name: Readable(strategy) for name, strategy in {**chosen, "random": Random(), "first": First()}.items()}

    def info(self) -> dict[str, Any]:
        """What the server has; models without weights are told under "lacking"."""
        return {**super().info(), "lacking": self.lacking}

    def check(self, kind: str, name: str, params: Any = None) -> None:
        """Refuse names that there are none of, and trainings that cannot begin.

        Args:
            kind: "infer", "batch", "model", "train", "activelearning" or "scoring".
            name: of a model, strategy or method.
            params: the parameters of a request.

        Raises:
            BadRequest: when there is no model, strategy or method of that name, or nothing to train on.
        """
        kinds: dict[str, dict[str, Any]] = {
            "activelearning": self._strategies,
            "scoring": self._scoring_methods,
            "train": self._trainers,
        }
        known = kinds[kind] if kind in kinds else self._infers
        if name in self.lacking and kind != "activelearning":
            raise BadRequest(self.lacking[name], 404)
        if name not in known:
            words = {"activelearning": "strategy", "scoring": "scoring method"}.get(kind, "model")
            raise BadRequest(f"there is no {words} {name!r}, there is {', '.join(known) or 'none'}", 404)
        if kind == "train":
            known[name].check(params or {}, self.datastore())

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> Any:
        """Segment an image; see ``MONAILabelApp``.

        Raises:
            BadRequest: when there is no such model or image, or the image cannot be segmented.
        """
        self.check("infer", str(request.get("model")))
        image = str(request.get("image"))
        if not is_upload(image):
            request = {**request, "image_id": image, "image": self.image_of(image, datastore or self.datastore())}
        file, told = self._infers[request["model"]](request)
        saved = request.get("save_label") and "image_id" in request
        if saved:
            tag, info = request.get("label_tag") or "original", {"model": request["model"], "params": told}
            self.datastore().save_label(image, file, tag, info)
        if "image_id" in request and isinstance(self.datastore(), PacsStudies):
            self.datastore().answered(image, request["model"], told)
        return {"label": file, "tag": "original", "file": file, "params": told}

    def image_of(self, image: str, datastore: Datastore) -> str:
        """The file of an image of the datastore.

        Raises:
            BadRequest: when there is none; no other file of the machine is opened.
        """
        try:
            check_name("image", image)
            file = datastore.get_image_uri(image)
        except (ImageNotFoundException, BadRequest):
            file = ""
        if not file:
            raise BadRequest(f"there is no image {image!r} among the studies", 404)
        return str(file)

    def infer_wsi(self, request: dict[str, Any], datastore: Datastore | None = None) -> Any:
        """Refuse whole-slide images, which no model here is for."""
        raise BadRequest("whole-slide images are not served", 404)

    def on_init_complete(self) -> None:
        """Let the processes of this server know it; see ``MONAILabelApp``."""
        os.environ[PARENT] = str(os.getpid())
        super().on_init_complete()

    def async_scoring(self, method: str | None, params: dict[str, Any] | None = None) -> Any:
        """Score studies in the background; see ``MONAILabelApp``.

        Without a method, those methods are run whose scores were asked for before and lack some study, and only when
        they are not waiting to be run already.
        """
        if method is None:
            queue = [task for task in tasks("scoring") if task["status"] in ("SUBMITTED", "RUNNING")]
            waiting = {task["request"]["method"] for task in queue}
            methods = [name for name in self._scoring_methods if name not in waiting]
            methods = [name for name in methods if self._scoring_methods[name].lacks(self.datastore())]
        else:
            methods = [method]
        try:
            results = {name: super(SemanticGANApp, self).async_scoring(name, params) for name in methods}
        except requests.RequestException as error:
            # after a training in a process of its own, which went well
            logger.warning("scores are not brought up to date: %s", error)
            return {}
        return results[method] if method is not None else results
