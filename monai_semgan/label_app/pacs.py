# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Studies and labels of a PACS over DICOMweb (PS3.18); labels are DICOM SEG."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
import pydicom
import requests
from monai.data import MetaTensor
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX
from monailabel.datastore.local import DataModel, ImageLabelModel
from monailabel.interfaces.exception import ImageNotFoundException
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from requests.adapters import HTTPAdapter

from monai_semgan import formats
from monai_semgan.bundle import Bundle, description
from monai_semgan.data import failure_reason
from monai_semgan.formats.dicom_seg import read_seg
from monai_semgan.label_app.infer_task import SemanticGANInferTask, checksum, most_classes
from monai_semgan.label_app.names import check_tag
from monai_semgan.label_app.refusal import BadRequest
from monai_semgan.label_app.study_folder import StudyFolder, check_label, check_marked

logger = logging.getLogger(__name__)

T = TypeVar("T")
# seconds for which a list is taken as current; one's own labels are in it at once
CURRENT = 5.0
FINAL = "final"
# of which a series is one volume
VOLUMES = ("CT", "MR", "PT")
ALGORITHM_TYPES = ("MANUAL", "SEMIAUTOMATIC", "AUTOMATIC")


@dataclass(frozen=True)
class Study:
    """An image of the PACS: a series, or an instance of a series of several projection images."""

    study: str
    series: str
    modality: str
    instances: int
    instance: str = ""


@dataclass(frozen=True)
class Label:
    """A DICOM SEG of the PACS, and the series and instances that it is of."""

    study: str
    series: str
    instance: str
    place: tuple[str, str, int]
    images: frozenset[str]


class Impatient(HTTPAdapter):
    """Requests that do not wait for ever."""

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request."""
        kwargs["timeout"] = kwargs.get("timeout") or settings.MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT
        return super().send(*args, **kwargs)


class PacsStudies(StudyFolder):
    """Images of a PACS, of the modalities that the bundles are for, and their labels as DICOM SEG.

    Images are kept in a folder once they were asked for. A label is stored as the newest instance of one series for
    its image, so that the PACS keeps its history; what other programs stored is read too.

    Args:
        url: address of the DICOMweb server.
        models: the models by name.
    """

    def __init__(self, url: str, models: Mapping[str, SemanticGANInferTask]) -> None:
        self.url = url.rstrip("/")
        self.models = models
        self.session = requests.Session()
        if settings.MONAI_LABEL_DICOMWEB_USERNAME:
            self.session.auth = (settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD)
        self.session.mount("http://", Impatient())
        self.session.mount("https://", Impatient())
        prefixes = {f"{kind}_url_prefix": getattr(settings, f"MONAI_LABEL_{kind.upper()}_PREFIX") for kind in SERVICES}
        self.client = DICOMwebClientX(self.url, session=self.session, **prefixes)
        # one thread at a time asks for lists, one fetches
        self.asking, self.fetching = threading.Lock(), threading.RLock()
        self.asked: dict[str, tuple[float, Any]] = {}
        self.known: dict[str, Label] = {}
        folder = settings.MONAI_LABEL_DICOMWEB_CACHE_PATH or os.path.join(Path.home(), ".cache", "monai-semgan", "pacs")
        digest = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        super().__init__(os.path.join(folder, digest), classes=most_classes(models.values()), read_only=True)

    def name(self) -> str:
        """The address."""
        return self.url

    def address(self, path: str) -> str:
        """The address of a path of DICOMweb."""
        return f"{self.url}/{path}"

    def refresh(self) -> None:
        """Ask the PACS again."""
        self.asked.clear()

    def _reconcile_datastore(self) -> None:
        """Nothing lies in the folder that the PACS does not have."""

    def current(self, what: str, ask: Callable[[], T], at_once: bool = False) -> T:
        """What the PACS answered a moment ago, or now.

        Args:
            what: "images" or "labels".
            ask: asks the PACS.
            at_once: whether an older answer will do while it is asked again.
        """
        when, answer = self.asked.get(what, (-CURRENT, None))
        if at_once and answer is not None:
            if time.monotonic() - when >= CURRENT and not self.asking.locked():
                threading.Thread(target=self.current, args=(what, ask), daemon=True).start()
            return answer
        with self.asking:
            when, answer = self.asked.get(what, (-CURRENT, None))
            if time.monotonic() - when >= CURRENT:
                with in_words(self.url):
                    answer = ask()
                self.asked[what] = time.monotonic(), answer
            return answer

    # images

    def images(self, at_once: bool = False) -> dict[str, Study]:
        """The images by id: the UID of a series, or of an instance where a series holds several projection images."""
        return self.current("images", self.ask_images, at_once)

    def ask_images(self) -> dict[str, Study]:
        """Ask the PACS which images there are."""
        chosen = settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER
        words = {word for model in self.models.values() for word in model.modalities}
        # MONAI Label's own default is no choice
        filters = [{"Modality": word} for word in sorted(words)] if chosen == {"Modality": "CT"} else [chosen]
        found = {}
        for words_of in filters:
            for item in self.client.search_for_series(
                fields=["NumberOfSeriesRelatedInstances"], search_filters=words_of
            ):
                series = Dataset.from_json(item)
                study = Study(
                    str(series.StudyInstanceUID),
                    str(series.SeriesInstanceUID),
                    str(series.get("Modality", "")),
                    int(series.get("NumberOfSeriesRelatedInstances") or 1),
                )
                if study.instances == 1 or study.modality in VOLUMES:
                    found[study.series] = study
                    continue
                for one in self.client.search_for_instances(study.study, study.series):
                    uid = str(Dataset.from_json(one).SOPInstanceUID)
                    found[uid] = Study(study.study, study.series, study.modality, 1, uid)
        return found

    def list_images(self) -> list[str]:
        """The ids of the images."""
        return sorted(self.images())

    def get_image_uri(self, image_id: str) -> str:
        """Fetch an image unless it was fetched before.

        Returns:
            Its file, or the folder of its series; empty when the PACS has none.
        """
        study = self.images().get(image_id)
        if study is None:
            return ""
        folder = Path(self._datastore_path, "images", image_id)
        with self.fetching:
            # a series may have grown
            if len(list(folder.glob("*.dcm"))) != study.instances:
                self.fetch(study, folder)
        files = list(folder.iterdir())
        return str(files[0] if len(files) == 1 else folder)

    def fetch(self, study: Study, folder: Path) -> None:
        """Fetch the instances of an image."""
        partial = folder.with_name(f".{uuid.uuid4().hex}.partial")
        partial.mkdir(parents=True)
        try:
            with in_words(self.url):
                if study.instance:
                    instances = [self.client.retrieve_instance(study.study, study.series, study.instance)]
                else:
                    instances = self.client.retrieve_series(study.study, study.series)
            for instance in instances:
                instance.save_as(partial / f"{instance.SOPInstanceUID}.dcm", write_like_original=False)
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def download(self, image_id: str) -> str:
        """Give an image as one file: a series of slices as NIfTI, on whose grid a label may be sent back."""
        path = self.get_image_uri(image_id)
        if not path or not os.path.isdir(path):
            return path
        file = Path(f"{path}.nii.gz")
        with self.fetching:
            if not file.exists() or file.stat().st_mtime < os.stat(path).st_mtime:
                image = formats.read(path, 3)
                array = np.asarray(image)[0].reshape(image.meta["file_shape"])
                partial = file.with_name(f".{uuid.uuid4().hex}.nii.gz")
                nib.save(nib.Nifti1Image(array, image.meta["file_affine"]), partial)
                partial.rename(file)
        return str(file)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What is known of an image, its identifiers among it."""
        study = self.images().get(image_id)
        if study is None:
            return {}
        own = self._datastore.objects.get(image_id)
        told = {"StudyInstanceUID": study.study, "SeriesInstanceUID": study.series, "Modality": study.modality}
        return {**(dict(own.image.info) if own else {}), **told}

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Remember something of an image."""
        self.remember(image_id)
        super().update_image_info(image_id, info)

    def remember(self, image_id: str) -> None:
        """Make room for what is known of an image."""
        if image_id not in self.images():
            raise ImageNotFoundException(f"Image {image_id} not found")
        self._datastore.objects.setdefault(image_id, ImageLabelModel(image=DataModel()))

    def answered(self, image_id: str, model: str, told: Mapping[str, Any]) -> None:
        """Remember which mask a model gave of an image: a label of the same is automatic."""
        self.update_image_info(image_id, {"answer": {"model": model, "checksum": told["checksum"]}})

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Refuse an image: the PACS takes them."""
        raise BadRequest("images are stored in the PACS, by its own ways", 409)

    def remove_image(self, image_id: str) -> None:
        """Refuse to delete an image: the PACS does."""
        raise BadRequest("images are deleted in the PACS, by its own ways", 409)

    # labels

    def labels(self, at_once: bool = False) -> dict[str, Label]:
        """The newest final label of each image, by the image's id."""
        return self.current("labels", self.ask_labels, at_once)

    def ask_labels(self) -> dict[str, Label]:
        """Ask the PACS which labels there are."""
        newest: dict[str, Label] = {}
        for item in self.client.search_for_instances(search_filters={"Modality": "SEG"}):
            found = Dataset.from_json(item)
            uid = str(found.SOPInstanceUID)
            if uid not in self.known:
                try:
                    self.known[uid] = self.ask_label(str(found.StudyInstanceUID), str(found.SeriesInstanceUID), uid)
                except (requests.RequestException, ValueError, AttributeError) as error:
                    logger.warning("label %s is passed over: %s", uid, error)
                    continue
            for image in self.known[uid].images:
                if image not in newest or newest[image].place < self.known[uid].place:
                    newest[image] = self.known[uid]
        return newest

    def ask_label(self, study: str, series: str, instance: str) -> Label:
        """Ask the PACS what a DICOM SEG is of."""
        meta = Dataset.from_json(self.client.retrieve_instance_metadata(study, series, instance))
        place = (
            str(meta.get("ContentDate", "")),
            str(meta.get("ContentTime", "")),
            int(meta.get("InstanceNumber") or 0),
        )
        images = set()
        for referred in meta.get("ReferencedSeriesSequence", []):
            images.add(str(referred.SeriesInstanceUID))
            images |= {str(one.ReferencedSOPInstanceUID) for one in referred.get("ReferencedInstanceSequence", [])}
        return Label(study, series, instance, place, frozenset(images))

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """The ids of the images that have a label in the PACS."""
        return sorted(set(self.images()) & set(self.labels()))

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """The ids of the others, but for those that were found to be unreadable.

        Args:
            label_tag: is passed over, final labels count.
            labels: names of classes; images of other modalities than their models' are left out.
        """
        done = self.labels()
        found = [image for image in self.list_images() if image not in done and image not in self.unreadable]
        if not labels:
            return found
        wanted = {word for model in self.models.values() if {*labels} & {*model.labels} for word in model.modalities}
        return [image for image in found if self.images()[image].modality in wanted]

    def left_out(self, image_id: str) -> bool:
        """Whether an image was found to be unreadable."""
        return image_id in self.unreadable

    def modified(self, image_id: str) -> int:
        """Images of a PACS do not change."""
        return 0

    def status(self) -> dict[str, Any]:
        """Count images and labels, and tell which images cannot be read and why."""
        total = self.images(at_once=True)
        labels = total.keys() & self.labels(at_once=True).keys()
        told = {image: words for image, (_, words) in self.unreadable.items()}
        counts = {FINAL: len(labels)} if labels else {}
        return {"total": len(total), "completed": len(labels), "label_tags": counts, "unreadable": told}

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Give the file of a label on its image's grid, fetched unless it was before; empty where there is none."""
        if label_tag != FINAL:
            return str(super().get_label_uri(label_id, label_tag))
        label = self.labels().get(label_id)
        if label is None:
            return ""
        own = self._datastore.label(label_id, FINAL)
        file = super().get_label_uri(label_id, FINAL)
        if own is None or own.info.get("instance") != label.instance or not os.path.isfile(file):
            self.remember(label_id)
            self.keep(label_id, self.fetch_label(label_id, label), FINAL, {"instance": label.instance})
        return str(super().get_label_uri(label_id, FINAL))

    def fetch_label(self, image_id: str, label: Label) -> MetaTensor:
        """Fetch a DICOM SEG, and read it on its image's grid."""
        model = self.model_of(image_id, {})
        image = formats.read(self.get_image_uri(image_id), model.dimension)
        with in_words(self.url):
            seg = self.client.retrieve_instance(label.study, label.series, label.instance)
        terms = [one["SegmentedPropertyTypeCodeSequence"]["CodeValue"] for one in segments_of(model.bundle)]
        return MetaTensor(read_seg(seg, image.meta, terms), meta=image.meta)

    def keep(self, image_id: str, mask: MetaTensor, tag: str, info: dict[str, Any]) -> str:
        """Keep a mask in the folder, in the format of its image."""
        with tempfile.TemporaryDirectory() as folder:
            file = formats.write(mask, Path(folder, "label"), foreground=1)
            return self.store(image_id, str(file), tag, info)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a label, a final one as DICOM SEG in the PACS; see ``LocalDatastore``.

        Args:
            image_id: the image.
            label_filename: NIfTI, NRRD, PNG or DICOM on the image's grid, or ``.bin``, its unsigned bytes.
            label_tag: "final", or another, which stays in the folder.
            label_info: "model", which names the classes; "reader", who labelled; "algorithm_type".

        Raises:
            ImageNotFoundException: when there is no such image.
            BadRequest: when the label cannot be read, is not on its image's grid, is not binary, or empty.
        """
        check_tag(label_tag)
        image = self.get_image_uri(image_id)
        if not image:
            raise ImageNotFoundException(f"Image {image_id} not found")
        info = label_info or {}
        raw = label_filename.endswith(".bin")
        mask = (
            self.read_raw(image_id, image, label_filename) if raw else check_label(image, label_filename, self.classes)
        )
        self.remember(image_id)
        if label_tag != FINAL:
            return self.keep(image_id, mask, label_tag, info)
        check_marked(mask)
        model = self.model_of(image_id, info)
        with tempfile.TemporaryDirectory() as folder:
            file = self.written(mask, image_id, model, info, Path(folder))
            instance = pydicom.dcmread(file)
            with in_words(self.url):
                self.client.store_instances([instance])
        self.asked.pop("labels", None)
        return self.keep(image_id, mask, FINAL, {**info, "instance": str(instance.SOPInstanceUID)})

    def written(
        self, mask: MetaTensor, image_id: str, model: SemanticGANInferTask, info: Mapping[str, Any], folder: Path
    ) -> Path:
        """Write a label as DICOM SEG, the next of its image's series.

        Raises:
            BadRequest: when that cannot be done.
        """
        kind = info.get("algorithm_type") or self.algorithm_type(image_id, mask)
        if kind not in ALGORITHM_TYPES:
            raise BadRequest(f"algorithm_type is {kind!r}, there is {', '.join(ALGORITHM_TYPES)}")
        segments = [{**one, "SegmentAlgorithmType": kind} for one in segments_of(model.bundle)]
        before = self.labels().get(image_id)
        meta = {
            **mask.meta,
            "segments": segments,
            "reader": info.get("reader"),
            # the same for every label of an image: a history
            "seg_series": generate_uid(entropy_srcs=["monai-semgan label", image_id]),
            "seg_number": before.place[2] + 1 if before else 1,
        }
        try:
            return formats.write_seg(MetaTensor(mask.as_tensor(), meta=meta), folder / "label")
        except ValueError as error:
            raise BadRequest(f"the label is refused: no DICOM SEG of it: {error}", 422) from error

    def algorithm_type(self, image_id: str, mask: MetaTensor) -> str:
        """Whether a label is a model's, a corrected one of a model's, or made by hand."""
        own = self._datastore.objects.get(image_id)
        answer = own.image.info.get("answer") if own else None
        if answer is None:
            return "MANUAL"
        return "AUTOMATIC" if answer["checksum"] == checksum(mask[0]) else "SEMIAUTOMATIC"

    def model_of(self, image_id: str, info: Mapping[str, Any]) -> SemanticGANInferTask:
        """The model whose classes a label is of: the one named, the one that answered, or the one of the modality.

        Raises:
            BadRequest: when several could be meant.
        """
        said = (info.get("label_info") or [{}])[0]
        own = self._datastore.objects.get(image_id)
        answer = own.image.info.get("answer", {}) if own else {}
        named = info.get("model") or (said.get("model_name") if isinstance(said, dict) else None) or answer.get("model")
        if str(named) in self.models:
            return self.models[str(named)]
        modality = self.images()[image_id].modality
        fitting = [name for name, model in self.models.items() if modality in model.modalities]
        if len(fitting) != 1:
            raise BadRequest(
                f"whose label is it? Say it in params as model: {', '.join(fitting or sorted(self.models)) or 'none'}",
                422,
            )
        return self.models[fitting[0]]

    def read_raw(self, image_id: str, image: str, file: str) -> MetaTensor:
        """Read a label of bytes alone, the first index fastest.

        Raises:
            BadRequest: when they are not as many as the image has, or not binary.
        """
        found = formats.read(image, self.model_of(image_id, {}).dimension)
        values = np.fromfile(file, dtype=np.uint8)
        shape = tuple(int(length) for length in found.shape[1:])
        if values.size != np.prod(shape):
            raise BadRequest(f"the label is refused: {values.size} bytes, its image has {np.prod(shape)}, {shape}", 422)
        one = len(self.classes) == 1
        if len(np.unique(values)) > 2 if one else values.max() > len(self.classes):
            raise BadRequest(
                f"the label is refused: it holds other values than those of {', '.join(self.classes)}", 422
            )
        indices = (values > 0 if one else values).astype(np.float32)
        return MetaTensor(indices.reshape(shape, order="F")[None], meta=found.meta)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label that is not final; see ``LocalDatastore``."""
        if label_tag == FINAL:
            raise BadRequest("final labels are deleted in the PACS, by its own ways", 409)
        super().remove_label(label_id, label_tag)

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Fetch the images that have a label, and these; see ``LocalDatastore``."""
        pairs = []
        for image in self.get_labeled_images():
            try:
                pairs.append({"image": self.get_image_uri(image), "label": self.get_label_uri(image, FINAL)})
            except (BadRequest, ValueError, OSError) as error:
                logger.warning("left out, its label cannot be used: %s: %s", image, failure_reason(error))
        return pairs


SERVICES = ("qido", "wado", "stow")


def segments_of(bundle: Bundle) -> list[dict[str, Any]]:
    """What the classes of a bundle are, as DICOM SEG has it."""
    mask = MetaTensor(np.zeros((1, 1, 1), dtype=np.uint8))
    return description(bundle.root, bundle.classes)({"pred": mask})["pred"].meta["segments"]


@contextmanager
def in_words(url: str) -> Any:
    """Tell a client what the PACS did, where it failed.

    Raises:
        BadRequest: of status 502.
    """
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise BadRequest(f"the PACS at {url} answered {status}", 502) from error
    except requests.RequestException as error:
        raise BadRequest(f"the PACS at {url} does not answer ({type(error).__name__})", 502) from error
