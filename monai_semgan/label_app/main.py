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
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random
from monailabel.utils.async_tasks.utils import tasks

import monai_semgan
from monai_semgan.label_app.active_learning import LeastUnderstood, UnderstandingScore
from monai_semgan.label_app.infer_task import BadRequest, SemanticGANInferTask
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
        bundles = open_bundles(json.loads(conf.get("bundles", "[]")))
        self.lacking = {name: words for name, bundle in bundles.items() if (words := bundle.lacking())}
        self.bundles = {name: bundle for name, bundle in bundles.items() if name not in self.lacking}
        for words in self.lacking.values():
            logger.warning(words)
        super().__init__(
            app_dir,
            studies,
            conf,
            name="monai-semgan",
            description="Segmentation with few labels by SemanticGAN",
            version=monai_semgan.__version__,
        )

    def init_datastore(self) -> Datastore:
        """Make the folder's datastore; that of a server is MONAI Label's."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        return StudyFolder(
            self.studies,
            classes=max((list(bundle.classes) for bundle in self.bundles.values()), key=len, default=["foreground"]),
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def init_infers(self) -> dict[str, SemanticGANInferTask]:
        """Make the models."""
        return {name: SemanticGANInferTask(bundle) for name, bundle in self.bundles.items()}

    def init_trainers(self) -> dict[str, SemanticGANTrainTask]:
        """Make their fine-tunings."""
        return {name: SemanticGANTrainTask(bundle) for name, bundle in self.bundles.items()}

    def init_scoring_methods(self) -> dict[str, UnderstandingScore]:
        """Make the scores of how badly each model understands the studies."""
        folder = Path(self.studies if os.path.isdir(self.studies) else self.app_dir)
        return {name: UnderstandingScore(task, folder / f"scores_{name}.json") for name, task in self._infers.items()}

    def init_strategies(self) -> dict[str, Any]:
        """Make the strategies that choose the next image."""
        methods = self.init_scoring_methods()
        chosen = {f"least_understood_{name}": LeastUnderstood(method) for name, method in methods.items()}
        return {**chosen, "random": Random(), "first": First()}

    def info(self) -> dict[str, Any]:
        """What the server has; models without weights are told under "lacking"."""
        return {**super().info(), "lacking": self.lacking}

    def check(self, kind: str, name: str, method: str = "POST") -> None:
        """Refuse names that a request to "infer", "train", "activelearning" or "scoring" cannot have.

        Raises:
            BadRequest: when there is no model, strategy or method of that name, or nothing to train on.
        """
        known: dict[str, Any] = {
            "infer": self._infers,
            "train": self._trainers,
            "activelearning": self._strategies,
            "scoring": self._scoring_methods,
        }[kind]
        if name in self.lacking and kind in ("infer", "train", "scoring"):
            raise BadRequest(self.lacking[name], 404)
        if name not in known:
            words = {"activelearning": "strategy", "scoring": "scoring method"}.get(kind, "model")
            raise BadRequest(f"there is no {words} {name!r}, there is {', '.join(known) or 'none'}", 404)
        if kind == "train":
            known[name].check({}, self.datastore())

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> Any:
        """Segment an image; see ``MONAILabelApp``.

        Raises:
            BadRequest: when there is no such model or image, or the image cannot be segmented.
        """
        self.check("infer", str(request.get("model")))
        image = request.get("image")
        if isinstance(image, str) and not os.path.exists(image) and not self.datastore().get_image_uri(image):
            raise BadRequest(f"there is no image {image!r} among the studies", 404)
        return super().infer(request, datastore)

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
