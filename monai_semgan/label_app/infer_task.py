# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Segmentation by a bundle, for MONAI Label."""

from __future__ import annotations

import copy
import os
import tempfile
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import SaveImaged
from monailabel.tasks.infer.bundle import BundleInferTask
from monailabel.utils.others.generic import name_to_device

from monai_semgan.data.failure import failure_reason
from monai_semgan.data.formats import PICTURE
from monai_semgan.inferers.presets import PRESETS
from monai_semgan.label_app.bad_request import BadRequest
from monai_semgan.label_app.bundle_folder import versions
from monai_semgan.networks.load_weights import load_weights
from monai_semgan.transforms.save_label_map import write_label_map
from monai_semgan.transforms.save_mask import write_mask

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


class SemanticGANInferTask(BundleInferTask):
    """A ``BundleInferTask`` whose answers lie on their image, and whose refusals say what is wrong.

    Pictures are answered by PNG (0 and 1) of their own width and height, all else by NIfTI with the image's geometry,
    unless the client asks for another format. What the bundle has as ``displayable_configs`` are the client's options;
    a "preset" among them is a choice. The newest weights are used unless the
    client names a version as ``model_filename``. One image is segmented at a time.

    Args:
        path: the bundle's folder, with weights.
        conf: the app's settings.
    """

    labels: dict[str, int]
    displayable_configs: dict[str, Any]
    _networks: dict[Any, Any]

    def __init__(self, path: Path, conf: dict[str, str]) -> None:
        self.folder = path
        self.lock = threading.RLock()
        super().__init__(str(path), conf, post_filter=[SaveImaged], add_post_restore=False)
        self._config.pop("_desc_", None)
        self.displayable_configs = {k: v for k, v in self.displayable_configs.items() if k != "_desc_"}
        if "preset" in self.displayable_configs:
            # clients show a list as a choice, its first value the default
            default = self.displayable_configs["preset"]
            others = [name for name in PRESETS if name != default]
            self.displayable_configs["preset"] = self._config["preset"] = [default, *others]
        # MONAI Label takes channels of an output for values of a mask; that of a binary one has the value 1
        if len(self.labels) == 1:
            self.labels = dict.fromkeys(self.labels, 1)
        # the metadata's are those of the network, which sees slices
        self.dimension = 3 if self.reads_volumes else 2

    @property
    def reads_volumes(self) -> bool:
        """Whether the bundle takes volumes rather than 2-D images."""
        return self.bundle_config["reader"]["_target_"].endswith("VolumeReader")

    def _load_bundle_config(self, path: str, config: str) -> ConfigParser:
        here = Path.cwd()
        # what a config takes from others is named from the bundle's folder
        os.chdir(path)
        try:
            parser = super()._load_bundle_config(path, config)
            parser.parse()
        finally:
            os.chdir(here)
        return parser

    def config(self) -> dict[str, Any]:
        """The options of the client, with the weights that there are now."""
        self._config["model_filename"] = versions(self.folder)
        return self._config

    def get_path(self, validate: bool = True) -> str:
        """The newest weights."""
        return str(self.folder / "models" / versions(self.folder)[0])

    def __call__(self, request: dict[str, Any], callbacks: dict[Any, Any] | None = None) -> tuple[Any, dict]:
        """Segment an image; see ``BasicInferTask``."""
        # the bundle's config is changed by each request
        with self.lock:
            return super().__call__(request | self.chosen(request), callbacks)

    def chosen(self, request: dict[str, Any]) -> dict[str, Any]:
        """Check what a client chose, and complete it by the defaults.

        Args:
            request: the client's request.

        Returns:
            Values of the options.

        Raises:
            BadRequest: for a value that an option cannot have.
        """
        chosen = {}
        for name, default in {**self.displayable_configs, "model_filename": versions(self.folder)}.items():
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
            chosen["device"] = str(torch.device(name_to_device(request.get("device"))))
        except (RuntimeError, TypeError) as error:
            raise BadRequest(f"device is {request.get('device')!r}: {error}") from error
        return chosen

    def read(self, file: str) -> torch.Tensor:
        """Read an image and bring it to what the network takes, ``(C, S, S)`` or ``(C, S, S, slices)``."""
        with self.lock:
            data = self.chosen({}) | {"image": file}
            return self.run_pre_transforms(data, self.pre_transforms(data))["image"]

    def run_pre_transforms(self, data: dict[str, Any], transforms: Sequence[Callable[..., Any]]) -> Any:
        """Read and prepare an image.

        Raises:
            BadRequest: for a file that the bundle does not take.
        """
        try:
            return super().run_pre_transforms(data, transforms)
        except (ValueError, OSError, RuntimeError) as error:
            raise BadRequest(f"{self.folder.name}: {failure_reason(error)}", 422) from error

    def newest_network(self, device: str) -> Any:
        """The network with its newest weights."""
        return self._get_network(device, {"model_filename": versions(self.folder)[0]})

    def _get_network(self, device: str, data: dict[str, Any]) -> Any:
        file = self.folder / "models" / data["model_filename"]
        # MONAI Label's own cache does not tell versions apart
        key = (device, file.name, file.stat().st_mtime_ns)
        if key not in self._networks:
            network = load_weights(copy.deepcopy(self.network), file)
            self._networks = {key: network.to(device).eval()}
        return self._networks[key]

    def writer(self, data: dict[str, Any], extension: str | None = None, dtype: Any = None) -> tuple[Any, Any]:
        """Write the mask; see ``BasicInferTask``."""
        mask: MetaTensor = data["pred"]
        picture = mask.meta["file_format"] == PICTURE
        own = ".png" if picture else ".nii.gz"
        wanted = extension or data.get("result_extension") or own
        if wanted != own:
            if wanted not in VOLUME_SUFFIXES:
                raise BadRequest(f"masks are not written as {wanted}: ask for {own} or {', '.join(VOLUME_SUFFIXES)}")
            if not picture:
                shape = [int(length) for length in mask.meta["file_shape"]]
                # viewers place a 2-D image by the affine of a volume of one slice
                shape += [1] * (3 - len(shape))
                affine = torch.as_tensor(mask.meta["file_affine"])
                data["pred"] = MetaTensor(mask.as_tensor().reshape(shape), affine=affine)
            return super().writer(data, wanted, dtype)
        channel_first: Any = mask[None]
        stem = Path(tempfile.gettempdir(), f"mask_{uuid.uuid4().hex}")
        if self.reads_volumes:
            return str(write_label_map(channel_first, stem)), {}
        return str(write_mask(channel_first, stem, foreground=1)), {}


def number(name: str, value: Any, kind: type) -> Any:
    """Read a number that is not negative, which some clients send as text."""
    try:
        read = kind(value)
    except (TypeError, ValueError) as error:
        raise BadRequest(f"{name} is {value!r}, a number is expected") from error
    if not 0 <= read < 1e6:
        raise BadRequest(f"{name} is {value!r}, it must not be negative or beyond a million")
    return read
