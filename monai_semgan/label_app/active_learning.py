# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Which study to label next: the one that a model understands least."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy

from monai_semgan.inferers import Uncertainty, WPlusUncertainty
from monai_semgan.inferers.wplus_uncertainty import mean_rank
from monai_semgan.label_app.infer_task import SemanticGANInferTask
from monai_semgan.label_app.refusal import BadRequest

logger = logging.getLogger(__name__)

# slices of a volume that are scored, evenly spaced
SLICES = 12
# seconds after which a study that was served and not labelled comes up again
RESERVE = 24 * 60 * 60


class UnderstandingScore(ScoringMethod):
    """Score studies without label by :class:`monai_semgan.inferers.WPlusUncertainty`.

    Scores are kept in a file of their own: MONAI Label's datastore would lose what annotators save while the scoring,
    which is a process of its own, writes to it.

    Args:
        task: the model.
        file: JSON file of the scores; once it is there, scores are kept up to date.
    """

    def __init__(self, task: SemanticGANInferTask, file: Path) -> None:
        super().__init__(f"reconstruction error and spread of masks: {task.description}")
        self.task = task
        self.file = file

    @property
    def version(self) -> list[Any]:
        """What tells the newest weights from others."""
        newest = self.task.get_path()
        return [Path(newest).name, Path(newest).stat().st_mtime_ns] if newest else []

    def scores(self) -> dict[str, Any]:
        """Scores that the newest weights gave, by image; those of images that cannot be scored are null."""
        if not self.file.is_file():
            return {}
        content = json.loads(self.file.read_text(encoding="utf-8"))
        return content["scores"] if content["version"] == self.version else {}

    def write(self, scores: dict[str, Any]) -> None:
        """Replace the file in one piece."""
        partial = self.file.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps({"version": self.version, "scores": scores}, indent=1), encoding="utf-8")
        os.replace(partial, self.file)

    def lacks(self, datastore: Datastore) -> bool:
        """Whether scores were asked for before, and a study has none."""
        return self.file.is_file() and not set(datastore.get_unlabeled_images()) <= set(self.scores())

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, int]:
        """Score the studies that the newest weights have not scored yet, the result after each."""
        start = time.time()
        predictor = self.task.predictor({"device": request.get("device")})
        scores = self.scores()
        images = [image for image in sorted(datastore.get_unlabeled_images()) if image not in scores]
        images = images[: int(request.get("max_samples") or len(images))]
        for image in images:
            try:
                scores[image] = self.score(datastore.get_image_uri(image), predictor)
            except (BadRequest, ValueError) as error:
                logger.warning("%s is not scored: %s", image, error)
                scores[image] = None
            self.write(scores)
        return {"total": len(scores), "executed": len(images), "seconds": round(time.time() - start)}

    def score(self, file: str, predictor: Any) -> dict[str, float]:
        """Score a study; a volume by the mean over some of its slices."""
        image = self.task.read(predictor, {"image": file})["image"].as_subclass(torch.Tensor)
        if image.dim() == 4:
            places = torch.linspace(0, image.shape[-1] - 1, min(SLICES, image.shape[-1])).round().long()
            image = image[..., places].movedim(-1, 0)
        else:
            image = image[None]
        # the same for an image whenever it is scored
        seeded = torch.Generator().manual_seed(0)
        found = WPlusUncertainty(predictor.inferer)(image.to(predictor.device), predictor.network, generator=seeded)
        return {name: round(values.mean().item(), 5) for name, values in found._asdict().items()}


class Readable(Strategy):
    """Serve what another strategy chooses, if it can be read; what cannot is left out of the studies.

    Args:
        strategy: the other.
    """

    def __init__(self, strategy: Strategy) -> None:
        super().__init__(strategy.description)
        self.strategy = strategy

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Choose a study; see ``Strategy``."""
        while chosen := self.strategy(request, datastore):
            if datastore.is_readable(chosen["id"]):
                return chosen
        return None


class LeastUnderstood(Strategy):
    """Serve the study without label whose scores rank highest, and each one once before any comes again.

    Studies that are not scored yet follow those that are, in the order of their names; then come those that the model
    cannot read.

    Args:
        scoring: where the scores come from.
    """

    def __init__(self, scoring: UnderstandingScore) -> None:
        super().__init__(f"the study that {scoring.task.bundle.name} understands least")
        self.scoring = scoring

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Choose a study; see ``Strategy``."""
        images = sorted(datastore.get_unlabeled_images())
        if not images:
            return None
        if not self.scoring.file.is_file():
            self.scoring.write({})
        scores = self.scoring.scores()
        scored = [image for image in images if scores.get(image)]
        ranks: dict[str, float] = {}
        if scored:
            both = Uncertainty(
                *(torch.tensor([scores[image][name] for image in scored]) for name in Uncertainty._fields)
            )
            ranks = dict(zip(scored, mean_rank(both).tolist()))
        now = time.time()

        def place(image: str) -> tuple[float, float]:
            """Ascending: when it was served, then its rank."""
            served = datastore.get_image_info(image).get("strategy", {}).get(request["strategy"], {}).get("ts", 0)
            unknown = 0.0 if image not in scores else 1.0
            return (served if now - served < RESERVE else 0, -ranks[image] if image in ranks else unknown)

        chosen = min(images, key=place)
        return {"id": chosen, "rank": ranks.get(chosen), **(scores.get(chosen) or {})}
