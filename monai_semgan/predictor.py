# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""From images to predictions: what segments a path, an array or a whole cohort, one image or a batch at a time."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from monai.networks.utils import eval_mode
from monai.utils import CommonKeys as Keys
from monai.utils import convert_to_tensor
from torch import Tensor, nn

from monai_semgan import formats
from monai_semgan.bundle import Bundle, give_back_freed_memory
from monai_semgan.data.cohort import FAILURE, failure_reason
from monai_semgan.formats.registry import OK, REFUSED, SUSPICIOUS
from monai_semgan.networks.nets.dice_calibration import Quality, slice_confidences, soft_dice_confidence

logger = logging.getLogger(__name__)


@dataclass
class Prediction:
    """What is known of one image after it was segmented.

    Attributes:
        item: what was asked for: "image" (the path, if there is one) and whatever else the item of a cohort holds.
        classes: names of the classes, that of the value 1 of the mask first.
        mask: label map of unsigned bytes on the input's own grid and indexed as the input is, a ``MetaTensor``.
        image: the network's input in [-1, 1], ``(C, S, S)`` or ``(C, S, S, slices)``.
        logits: label logits on the network's grid, ``(L, S, S)`` or ``(L, S, S, slices)``.
        reconstruction: the image as the generator redraws it, of the shape of ``image``; None without a generator.
        codes: W+ codes, ``(N, D)`` or ``(slices, N, D)``; None without a generator.
        label: the label of an evaluation, on the input's own grid.
        scores: what an evaluation found, by name.
        measurements: sizes of the mask by name and unit, such as ``{"liver_volume": {"ml": 1490.2, "voxels": 98013}}``;
            None where there is nothing to measure, or the size of pixels is not known.
        confidence: how sure the network is of the mask, its soft Dice, 0 to 1.
        quality: the predicted Dice of the mask with its interval, where the weights were calibrated; of a volume also
            that of each slice.
        check: whether the image is of the kind that the bundle is for: "ok", "suspicious" (``warnings`` say why) or
            "refused" (``failure`` does); empty where nothing tells.
        seconds: time that it took; of images that were segmented together, each has its share.
        failure: why there is no mask; None where all went well.
        warnings: what a user should know of how the image was read and of its mask; the first names file and patient.
        invert: brings logits to the input's grid as probabilities, for :attr:`probabilities`.
    """

    item: dict[str, Any]
    classes: tuple[str, ...] = ()
    mask: Any = None
    image: Any = None
    logits: Any = None
    reconstruction: Tensor | None = None
    codes: Tensor | None = None
    label: Any = None
    scores: dict[str, float] = field(default_factory=dict)
    measurements: dict[str, dict[str, float | None]] = field(default_factory=dict)
    confidence: float | None = None
    quality: Quality | None = None
    check: str = ""
    seconds: float = 0.0
    failure: str | None = None
    warnings: tuple[str, ...] = ()
    invert: Callable[[dict[str, Any]], Mapping[Any, Any]] | None = None

    @property
    def probabilities(self) -> MetaTensor:
        """Probabilities on the input's own grid, ``(L, ...)`` in [0, 1]; made when asked for, as they are large."""
        if self.invert is None or self.logits is None:
            raise ValueError(f"no probabilities: {self.failure or 'the bundle names none'}")
        return self.invert({Keys.IMAGE: self.image, Keys.PRED: self.logits})[Keys.PRED]  # type: ignore[return-value]

    @property
    def reconstruction_error(self) -> float | None:
        r"""Root mean square difference of image and reconstruction, :math:`\sqrt{\mathrm{mean}((x - G_x(w^+))^2)}`."""
        squared = self._squared_difference()
        return None if squared is None else squared.mean().sqrt().item()

    @property
    def slice_errors(self) -> list[float] | None:
        """The reconstruction error of each slice of a volume, from the feet; None of a 2-D image."""
        squared = self._squared_difference()
        return None if squared is None or squared.ndim < 4 else squared.mean((0, 1, 2)).sqrt().tolist()

    def _squared_difference(self) -> Tensor | None:
        if self.reconstruction is None:
            return None
        return (self.reconstruction - convert_to_tensor(self.image, track_meta=False).float()).square()

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Write the mask: PNG (0 and 255) of a picture or an array, NIfTI with the input's geometry of all else.

        Args:
            path: the file without suffix.
            format: "nifti", "png", "nrrd" or "seg" (DICOM SEG, of DICOM files); by default what the bundle's
                ``formats`` say.

        Returns:
            The file with its suffix; the first of several.

        Raises:
            ValueError: when there is no mask, or the format is unknown or cannot hold it.
        """
        if self.mask is None:
            raise ValueError(f"no mask to save: {self.failure}")
        mask = self.mask[None]
        if mask.meta.get("rows_first") and mask.ndim == 3:
            # pictures are stored column by column
            mask = MetaTensor(mask.transpose(1, 2), meta={**mask.meta, "spatial_shape": mask.shape[:0:-1]})
        if format is None:
            return next(iter(formats.write_as(mask, Path(path))[0].values()))
        if format not in formats.MASK_FORMATS:
            raise ValueError(f"format {format} is unknown, there are {', '.join(formats.MASK_FORMATS)}")
        return formats.MASK_FORMATS[format](mask, Path(path))


class Predictor:
    """Segment images: read, prepare, hand to the network in batches, bring the result back to each image's own grid.

    Args:
        network: the network with its weights.
        inferer: how it is applied, such as :class:`monai_semgan.inferers.WPlusInferer`.
        read: reads an item's "image", a path.
        preparation: brings the "image" that was read to the network's input in [-1, 1].
        postprocessing: makes of an item's "pred", label logits, the mask on the image's own grid.
        probabilities: the first part of it, which gives probabilities there.
        classes: names of the classes, that of the value 1 of the mask first.
        device: where the network runs; "auto" is a GPU where there is one.
        batch_size: images that the network sees together.
        spatial_dims: 2 for images, 3 for volumes; for arrays, which do not tell.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        inferer: Callable[..., Any],
        read: Any,
        preparation: Callable[..., Any],
        postprocessing: Callable[..., Any],
        probabilities: Callable[..., Any] | None = None,
        classes: Sequence[str] = (),
        device: torch.device | str = "auto",
        batch_size: int = 16,
        spatial_dims: int = 2,
    ) -> None:
        self.device = read_device(device)
        # convolutions take a fifth less time with their channels last
        self.network = network.to(self.device).to(memory_format=torch.channels_last).eval()
        self.inferer = inferer
        self.read = read
        self.preparation = preparation
        self.postprocessing = postprocessing
        self.probabilities = probabilities
        self.classes = tuple(classes)
        self.batch_size = batch_size
        self.spatial_dims = spatial_dims

    @classmethod
    def from_bundle(
        cls,
        bundle: str | os.PathLike[str] | Bundle,
        preset: str | None = None,
        *,
        answer: str | None = None,
        device: str = "auto",
        **settings: Any,
    ) -> Predictor:
        """Make the predictor of a bundle.

        Args:
            bundle: the bundle, its folder, or the name of one that came with the package, such as ``"lung_xray"``.
            preset: "fast", "balanced" or "best"; by default the bundle's own, "balanced" but for photographs of skin.
            answer: "student", "gan" or "both"; by default the bundle's own.
            device: "auto", "cpu", "cuda" or "cuda:1".
            settings: values of the bundle's inference config by id, such as ``ckpt_path="my.pt"``.

        Raises:
            FileNotFoundError: when there is no such bundle, or it has no weights.
            ValueError: for an unknown preset, device or setting.
        """
        opened = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
        return opened.predictor(preset, answer=answer, device=device, **settings)

    def __call__(self, images: Any, **item: Any) -> Any:
        """Segment one image, or several.

        Args:
            images: a path, an array ``(row, column)``, ``(row, column, colour)`` or, of a volume, ``(row, column,
                slice)``; a tensor of the same with its channel first; a PIL, SimpleITK or nibabel image; a
                ``MetaTensor`` with its channel first; or a list of any of these.
            item: what the bundle's steps ask of an item, such as ``modality="mri"``.

        Returns:
            A :class:`Prediction`; of a list a list, in which those that failed say why.

        Raises:
            ValueError: when an image that was given alone cannot be segmented.
        """
        several = isinstance(images, (list, tuple))
        given = list(images) if several else [images]
        predictions: list[Prediction] = []
        for first in range(0, len(given), self.batch_size):
            start = time.perf_counter()
            items = [self._prepared(image, item) for image in given[first : first + self.batch_size]]
            found = self.predict(items)
            for prediction in found:
                prediction.seconds = (time.perf_counter() - start) / len(found)
            predictions += found
        if several:
            return predictions
        if predictions[0].failure is not None:
            raise ValueError(predictions[0].failure)
        return predictions[0]

    def iteration(self, engine: Any, items: list[dict[str, Any]]) -> list[Prediction]:
        """Segment prepared items: the ``iteration_update`` of an engine, whose ``state.output`` predictions become."""
        return self.predict(items)

    def predict(self, items: Sequence[dict[str, Any]]) -> list[Prediction]:
        """Segment items that are prepared.

        Where a whole batch fails its images are tried one at a time, so that one bad image does not lose the others.

        Args:
            items: dictionaries with "image", the network's input, or with "failure".

        Returns:
            A prediction for each, in this order.
        """
        start = time.perf_counter()
        good = [item for item in items if FAILURE not in item]
        found = iter(self._infer(good))
        predictions = [
            Prediction(item, self.classes, failure=item[FAILURE]) if FAILURE in item else next(found) for item in items
        ]
        for prediction in predictions:
            prediction.seconds = (time.perf_counter() - start) / len(predictions)
            if (prediction.failure or "").startswith(REFUSED):
                prediction.check = REFUSED
        return predictions

    def prepare(self, item: dict[str, Any]) -> dict[str, Any]:
        """Read an item's "image", a path, and bring it to the network's input; raises whatever is wrong with it."""
        return self.preparation(self.read(item))

    def _prepared(self, image: Any, item: Mapping[str, Any]) -> dict[str, Any]:
        """Read and prepare one image; an item with "failure" where that cannot be done."""
        try:
            if isinstance(image, (str, os.PathLike)):
                return self.prepare({**item, Keys.IMAGE: os.fspath(image)})
            stored = formats.in_memory(image, self.spatial_dims)
            formats.check_image(stored, "image")
            return self.preparation({**item, Keys.IMAGE: stored})
        except Exception as error:
            logger.debug("image failed", exc_info=True)
            return {**item, Keys.IMAGE: str(image)[:100], FAILURE: failure_reason(error)}

    def _infer(self, items: list[dict[str, Any]]) -> list[Prediction]:
        if not items:
            return []
        try:
            predictions = self._forward(items)
        except Exception as error:
            logger.debug("batch failed", exc_info=True)
            if len(items) > 1:
                return [prediction for item in items for prediction in self._infer([item])]
            return [Prediction(items[0], self.classes, failure=failure_reason(error))]
        for prediction in predictions:
            try:
                self._finish(prediction)
            except Exception as error:
                logger.debug("postprocessing failed", exc_info=True)
                prediction.failure = failure_reason(error)
        return predictions

    def _forward(self, items: list[dict[str, Any]]) -> list[Prediction]:
        """Run the network on a batch."""
        stacked = torch.stack([convert_to_tensor(item[Keys.IMAGE], track_meta=False) for item in items])
        images = stacked.to(self.device)
        if self.spatial_dims > 2:
            give_back_freed_memory()
        with eval_mode(self.network):
            if getattr(self.inferer, "gives_details", False):
                result = self.inferer(images, self.network, return_details=True)
            else:
                result = self.inferer(images, self.network)
            # a student has no codes
            logits = getattr(result, "logits", result)
            reconstruction, codes = getattr(result, "reconstruction", None), getattr(result, "wplus", None)
            distances = self._distances(images)
        for item, distance in zip(items, distances, strict=False):
            mark(item, distance)
        return [
            Prediction(
                item,
                self.classes,
                image=item[Keys.IMAGE],
                # Invertd passes over a prediction that tracks no metadata
                logits=convert_to_tensor(logits[index].detach().float().cpu(), track_meta=True),
                reconstruction=None if reconstruction is None else reconstruction[index].detach().float().cpu(),
                codes=None if codes is None else codes[index].detach().float().cpu(),
                warnings=warnings_of(item),
                check=getattr(item[Keys.IMAGE], "meta", {}).get("check", OK if distances else ""),
                invert=self.probabilities,
            )
            for index, item in enumerate(items)
        ]

    def _distances(self, images: Tensor) -> list[float]:
        """How far images are from those of the training, up to 1 where they are usual; empty where nothing tells."""
        domain, student = getattr(self.network, "domain", None), getattr(self.network, "student", None)
        if domain is None or not domain.fitted or images.ndim != 4:
            return []
        return domain(domain.features(student, images)).tolist()

    def _finish(self, prediction: Prediction) -> None:
        """Make the mask, and what an evaluation's postprocessing adds."""
        if not torch.isfinite(prediction.logits).all():
            raise ValueError("the network's result is NaN or infinite: are these its trained weights?")
        prediction.confidence = soft_dice_confidence(prediction.logits)
        network: Any = self.network
        if (calibration := getattr(network, "calibration", None)) is not None:
            prediction.quality = calibration.predict(prediction.confidence)
        if prediction.quality is not None and prediction.logits.ndim > 3:
            found = map(network.slice_calibration.predict, slice_confidences(prediction.logits))
            prediction.quality = prediction.quality._replace(slices=tuple(each for each in found if each is not None))
        done = self.postprocessing({**prediction.item, Keys.PRED: prediction.logits})
        prediction.mask = done[Keys.PRED]
        prediction.label = done.get(Keys.LABEL)
        prediction.scores = done.get("scores", {})
        prediction.measurements = done.get("measurements", {})
        prediction.warnings = warnings_of(prediction.item, done.get("remarks", ()))
        if self.spatial_dims > 2:
            give_back_freed_memory()


def mark(item: Mapping[str, Any], distance: float) -> None:
    """Warn of an image whose distance from those of the training is more than usual."""
    image = item[Keys.IMAGE]
    if distance > 1 and isinstance(image, MetaTensor):
        told = f"unlike the images that this network was trained on: distance {distance:.2f}, usual up to 1"
        image.meta |= {"check": SUSPICIOUS, "warnings": [*image.meta.get("warnings", ()), told]}


def warnings_of(item: Mapping[str, Any], remarks: Sequence[str] = ()) -> tuple[str, ...]:
    """What reading and preparing an item's image found worth telling, with the patient and the file that it is of.

    Args:
        item: the item, prepared.
        remarks: what was found in its mask.
    """
    meta = getattr(item[Keys.IMAGE], "meta", {})
    told = tuple(dict.fromkeys([*meta.get("warnings", ()), *remarks]))
    name = formats.text_of(Path(str(meta.get("filename_or_obj", "image"))).name)
    patient = item.get("patient") or meta.get("patient")
    of = f"{name}, patient {patient}" if patient else name
    # the first names them, for all
    return (f"{of}: {told[0]}", *told[1:]) if told else ()


def read_device(device: torch.device | str) -> torch.device:
    """Read the name of a device; "auto" is a GPU where there is one.

    Raises:
        ValueError: when torch knows no such device, or the machine has none.
    """
    if str(device) == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device is {str(device)!r}, {str(error).splitlines()[0]}: say auto, cpu or cuda") from error
    return found
