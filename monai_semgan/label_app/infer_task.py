# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Segmentation by a bundle, for MONAI Label."""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
import uuid
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from monai.data import MetaTensor
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.transform.writer import Writer
from monailabel.utils.others.generic import device_list, name_to_device
from PIL import Image

from monai_semgan import formats
from monai_semgan.bundle import Bundle
from monai_semgan.data import failure_reason
from monai_semgan.inferers import ANSWERS, PRESETS
from monai_semgan.label_app.refusal import BadRequest
from monai_semgan.predictor import Predictor, read_device

OPTIONS = "displayable_configs"
# written by MONAI Label when a client asks for them
OTHER_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
# DICOM SEG; images as they are shown, row by row
SEG, PNG = ".dcm", ".png"
# seconds in which the load of the machine is measured
MOMENT = 0.05


def most_classes(models: Iterable[SemanticGANInferTask]) -> list[str]:
    """Names of the classes of the model that has most of them: labels may hold these."""
    return max((list(model.bundle.classes) for model in models), key=len, default=["foreground"])


class SemanticGANInferTask(InferTask):
    """An ``InferTask`` that answers by a bundle's :class:`monai_semgan.predictor.Predictor`.

    Pictures are answered by PNG (0 and 1) of their own width and height, all else by NIfTI with the image's geometry,
    unless the client asks for another format. What the bundle has as ``displayable_configs`` are the client's options;
    a "preset" among them is a choice. The newest weights are used unless the client names a version as
    ``model_filename``. One image is segmented at a time.

    Args:
        bundle: the bundle, with weights.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.lock = threading.RLock()
        self.options = dict(bundle.parser().get_parsed_content(OPTIONS))
        self.options.pop("_desc_", None)
        for option, values in (("preset", PRESETS), ("answer", ANSWERS)):
            if option in self.options:
                # clients show a list as a choice, its first value the default
                default = self.options[option]
                self.options[option] = [default, *(name for name in values if name != default)]
        labels = {name: value for value, name in enumerate(bundle.classes, 1)}
        # read once: clients ask often
        self.metadata = bundle.metadata
        super().__init__(InferType.SEGMENTATION, labels, bundle.spatial_dims, self.metadata["description"])
        # the predictor of the last request, and what it was made of
        self.kept: tuple[str, Predictor] | None = None

    def is_valid(self) -> bool:
        """Whether there are weights."""
        return bool(self.bundle.weights())

    def info(self) -> dict[str, Any]:
        """What clients are told of the model."""
        return {**super().info(), "version": self.metadata["version"]}

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities of the DICOM images that the bundle is for."""
        reader = self.bundle.read("inference.yaml")["steps"]["read"]["reader"]
        said = self.metadata["network_data_format"]["inputs"]["image"]["modality"]
        return tuple(reader.get("expected", {}).get("Modality") or re.findall(r"\w+", said))

    def config(self) -> dict[str, Any]:
        """The options of the client, with the weights that there are now."""
        return {"device": device_list(), "model_filename": self.bundle.weights(), **self.options}

    def get_path(self, validate: bool = True) -> str | None:
        """The newest weights."""
        return next((str(self.bundle.root / "models" / name) for name in self.bundle.weights()), None)

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment an image.

        Args:
            request: "image", a path, and the client's options.

        Returns:
            The file of the mask, and what is told with it.

        Raises:
            BadRequest: for options that there are not, and for a file that the bundle does not take.
            MONAILabelException: when the server failed.
        """
        begin = time.perf_counter()
        with self.lock:
            torch.set_num_threads(free_cores())
            predictor = self.predictor(request)
            item = self.read(predictor, request)
            (prediction,) = predictor.predict([item])
            if predictor.device.type == "cuda":
                # for trainings, which are processes of their own
                torch.cuda.empty_cache()
        if prediction.failure is not None:
            raise MONAILabelException(MONAILabelError.INFERENCE_ERROR, f"{self.bundle.name}: {prediction.failure}")
        file = self.write(prediction.mask, request)
        seconds = {"infer": round(prediction.seconds, 2), "total": round(time.perf_counter() - begin, 2)}
        # OHIF reads "centroids", also where there are none
        told = {
            "label_names": self.labels,
            "latencies": seconds,
            "centroids": {},
            "measurements": prediction.measurements,
            "check": prediction.check,
            "warnings": list(prediction.warnings),
            # by which an answer that is sent back unchanged is known
            "checksum": checksum(prediction.mask),
        }
        quality = prediction.quality
        if quality is None:
            return file, told
        slices = [each.dice for each in quality.slices]
        return file, {**told, "predicted_dice": {**quality._asdict(), "slices": slices}}

    def predictor(self, request: dict[str, Any]) -> Predictor:
        """Make what segments as a client chose; the last one is kept.

        Raises:
            BadRequest: for a value that an option cannot have.
            MONAILabelException: when the weights cannot be loaded.
        """
        chosen = self.chosen(request)
        file = self.bundle.root / "models" / chosen["model_filename"]
        key = repr([chosen, file.stat().st_mtime_ns])
        with self.lock:
            if self.kept is None or self.kept[0] != key:
                # not two in memory
                self.kept = None
                settings = {f"{OPTIONS}::{name}": chosen[name] for name in self.options}
                try:
                    made = self.bundle.predictor(device=chosen["device"], ckpt_path=file, **settings)
                except (ValueError, OSError) as error:
                    raise MONAILabelException(MONAILabelError.INFERENCE_ERROR, str(error)) from error
                self.kept = key, made
            return self.kept[1]

    def chosen(self, request: dict[str, Any]) -> dict[str, Any]:
        """Check what a client chose, and complete it by the defaults.

        Raises:
            BadRequest: for a value that an option cannot have.
        """
        if lacking := self.bundle.lacking():
            raise BadRequest(lacking, 404)
        chosen = {}
        for name, default in {**self.options, "model_filename": self.bundle.weights()}.items():
            value = request.get(name, default)
            if isinstance(default, list):
                value = value[0] if isinstance(value, list) and value else value
                if value not in default:
                    raise BadRequest(f"{name} is {value!r}, there is {', '.join(map(str, default))}")
            # a default may be negative, such as the -1 steps that leave the number to the preset
            elif value != default and isinstance(default, (int, float)) and not isinstance(default, bool):
                value = number(name, value, type(default))
            chosen[name] = value
        try:
            chosen["device"] = str(read_device(name_to_device(request.get("device"))))
        except (ValueError, TypeError, AttributeError) as error:
            raise BadRequest(f"device is {request.get('device')!r}: {error}") from error
        return chosen

    def read(self, predictor: Predictor, request: dict[str, Any]) -> dict[str, Any]:
        """Read a client's "image", of volumes by its "modality", and bring it to what the network takes.

        The item's "image" is ``(C, S, S)`` or ``(C, S, S, slices)``.

        Raises:
            BadRequest: for a file that the bundle does not take.
        """
        try:
            return predictor.prepare({key: request[key] for key in ("image", "modality") if key in request})
        except (ValueError, OSError, RuntimeError) as error:
            raise BadRequest(f"{self.bundle.name}: {failure_reason(error)}", 422) from error

    def write(self, mask: Any, request: dict[str, Any]) -> str:
        """Write a mask on its image's own grid to a file that the server deletes when it was sent.

        Raises:
            BadRequest: for a format, "result_extension", in which masks are not written.
        """
        wanted = request.get("result_extension")
        stem = Path(tempfile.gettempdir(), f"mask_{uuid.uuid4().hex}")
        if wanted == SEG:
            try:
                return str(formats.write_seg(mask[None], stem))
            except ValueError as error:
                raise BadRequest(f"no DICOM SEG: {error}", 422) from error
        picture = mask.meta["file_format"] == "picture"
        own = ".png" if picture else ".nii.gz"
        wanted = wanted or own
        if wanted == own:
            return str(formats.write(mask[None], stem, foreground=1))
        if wanted == PNG and mask.ndim == 2:
            file = f"{stem}{PNG}"
            Image.fromarray(np.asarray(mask, dtype=np.uint8).T).save(file)
            return file
        if wanted not in OTHER_SUFFIXES:
            raise BadRequest(f"masks are not written as {wanted}: ask for {own} or {', '.join(OTHER_SUFFIXES)}")
        if not picture:
            shape = [int(length) for length in mask.meta["file_shape"]]
            # viewers place a 2-D image by the affine of a volume of one slice
            shape += [1] * (3 - len(shape))
            mask = MetaTensor(mask.as_tensor().reshape(shape), affine=torch.as_tensor(mask.meta["file_affine"]))
        return str(Writer()({**request, "pred": mask, "result_extension": wanted})[0])


def number(name: str, value: Any, kind: type) -> Any:
    """Read a number that is not negative, which some clients send as text."""
    try:
        read = kind(value)
    except (TypeError, ValueError) as error:
        raise BadRequest(f"{name} is {value!r}, a number is expected") from error
    if not 0 <= read < 1e6:
        raise BadRequest(f"{name} is {value!r}, it must not be negative or beyond a million")
    return read


def free_cores() -> int:
    """Threads that an answer takes: as many as there are cores that nobody uses at the moment, or one.

    More threads than that wait for each other: beside a training on two cores two take five times as long as one.
    """
    cores = psutil.cpu_count() or 1
    busy = cores * psutil.cpu_percent(interval=MOMENT) / 100
    return max(1, round(cores - busy))


def checksum(mask: Any) -> int:
    """What tells a mask from another: CRC-32 of its class indices in the order of its image's file."""
    return zlib.crc32(np.ascontiguousarray(np.asarray(mask).astype(np.uint8)).tobytes())


def is_upload(image: str) -> bool:
    """Whether an image is no study but a file that came with a request: the server alone names files by their paths."""
    return os.path.isabs(image)
