# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Bundles: a folder of configs and weights, opened from any working directory; and what these configs call."""

from __future__ import annotations

import copy
import ctypes
import hashlib
import importlib.util
import json
import logging
import logging.config
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

# torch and MONAI take seconds: a wrong name is told before they are imported
if TYPE_CHECKING:
    import torch
    from monai.bundle import ConfigParser

    from monai_semgan.predictor import Predictor

logger = logging.getLogger(__name__)

T = TypeVar("T")
INFERENCE = "inference.yaml"
FIRST_WEIGHTS = "model.pt"
LATER_WEIGHTS = re.compile(r"model_v(\d+)\.pt")
# exit code of a command that the user stopped, as shells have it
INTERRUPTED = 130
# of malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
# values of a mask of unsigned bytes, but for background
MOST_CLASSES = 255


class Bundle:
    """A bundle's folder, from which network, preprocessing, inferer and postprocessing are made.

    The configs are MONAI's, and ``python -m monai.bundle run`` in the folder does the same; here the working directory
    does not matter, and nothing changes it.

    Args:
        path: the folder, or the name of a bundle that came with the package, such as ``"lung_xray"``.

    Raises:
        FileNotFoundError: when there is no such bundle.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.root = find_bundle(path)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.root.name

    @property
    def metadata(self) -> dict[str, Any]:
        """Content of configs/metadata.json."""
        return json.loads((self.root / "configs" / "metadata.json").read_text(encoding="utf-8"))

    @property
    def classes(self) -> dict[str, tuple[int, ...]]:
        """Names of the classes, from the value 1 of a mask on, and the colours of their outlines (RGB, 0 to 255)."""
        return {name: tuple(colour) for name, colour in self.read(INFERENCE)["classes"].items()}

    @property
    def spatial_dims(self) -> int:
        """2 for a bundle of images, 3 for one of volumes."""
        return self.read(INFERENCE)["steps"]["read"]["reader"]["spatial_dims"]

    @property
    def window(self) -> tuple[float, float] | None:
        """Level and width, in Hounsfield units, of what a bundle of volumes sees of CT; None of images."""
        steps = self.read(INFERENCE)["steps"]
        return (steps["window"]["level"], steps["window"]["width"]) if "window" in steps else None

    def read(self, *files: str | os.PathLike[str]) -> dict[str, Any]:
        """Merge config files of the bundle, ``%configs/FILE::ID`` replaced by what it names.

        Args:
            files: names in the bundle's configs folder, or paths of files that lie elsewhere.

        Returns:
            The raw content, as new objects.

        Raises:
            FileNotFoundError: when a file does not exist.
        """
        paths = []
        for file in files:
            path = self.root / "configs" / file
            if not path.is_file():
                path = Path(file)
            if not path.is_file():
                raise FileNotFoundError(f"config {file} is neither in {self.root / 'configs'} nor a file elsewhere")
            paths.append(str(path.resolve()))
        from monai.bundle import ConfigParser

        return self._inlined(ConfigParser.load_config_files(paths))

    def _inlined(self, config: Any) -> Any:
        """Replace macros that name a file by the file's content, as MONAI does in the bundle's folder."""
        if isinstance(config, dict):
            return {key: self._inlined(value) for key, value in config.items()}
        if isinstance(config, list):
            return [self._inlined(value) for value in config]
        if isinstance(config, str) and config.startswith("%configs/"):
            from monai.bundle import ConfigParser

            file, _, name = config[1:].partition("::")
            content = ConfigParser.load_config_file(str(self.root / file))
            return self._inlined(copy.deepcopy(ConfigParser(content)[name]))
        return config

    def parser(self, *files: str | os.PathLike[str], **settings: Any) -> ConfigParser:
        """Parse configs of the bundle.

        Args:
            files: config files to merge, by default inference.yaml; see :meth:`read`.
            settings: values by id, in place of those in the files. Text is text: a path such as ``@home`` or
                ``20240101`` is no reference and no number.

        Returns:
            MONAI's parser, of which ``get_parsed_content(id)`` makes objects.

        Raises:
            FileNotFoundError: when a file does not exist.
            ValueError: when there is no such id in the files.
        """
        from monai.bundle import ConfigParser

        parser = ConfigParser(self.read(*(files or (INFERENCE,))))
        parser["bundle_root"] = literal(str(self.root))
        for name, value in settings.items():
            if name not in parser:
                raise ValueError(f"setting {name} is in none of {', '.join(map(str, files or (INFERENCE,)))}")
            parser[name] = literal(value) if isinstance(value, (str, os.PathLike)) else value
        parser.parse()
        return parser

    def predictor(
        self, preset: str | None = None, *, answer: str | None = None, device: str = "auto", **settings: Any
    ) -> Predictor:
        """Make the object that segments images; see :meth:`monai_semgan.predictor.Predictor.from_bundle`."""
        if preset is not None:
            settings["displayable_configs::preset"] = preset
        if answer is not None:
            settings["displayable_configs::answer"] = answer
        if device != "auto":
            settings["device"] = device
        parser = self.parser(INFERENCE, **settings)
        parsed(parser, "weights")
        return parsed(parser, "predictor")

    def run(self, *files: str | os.PathLike[str], **settings: Any) -> None:
        """Run configs as ``python -m monai.bundle run`` does: initialize, run and finalize.

        Args:
            files: config files to merge; see :meth:`read`.
            settings: values by id; see :meth:`parser`.
        """
        logging.config.fileConfig(self.root / "configs" / "logging.conf", disable_existing_loggers=False)
        parser = self.parser(*files, **settings)
        for stage in ("initialize", "run", "finalize"):
            for index in range(len(parser.get(stage) or ())):
                parsed(parser, f"{stage}::{index}")

    def weights(self) -> list[str]:
        """File names of the weights, the newest first: those that fine-tuning added, then what the bundle came with."""
        folder = self.root / "models"
        later = {
            int(found[1]): file.name for file in folder.glob("*.pt") if (found := LATER_WEIGHTS.fullmatch(file.name))
        }
        first = [FIRST_WEIGHTS] if (folder / FIRST_WEIGHTS).is_file() else []
        return [*(later[number] for number in sorted(later, reverse=True)), *first]

    def next_weights(self) -> str:
        """File name for the weights of the next fine-tuning; what the bundle came with counts as version 1."""
        newest = LATER_WEIGHTS.fullmatch((self.weights() or [FIRST_WEIGHTS])[0])
        return f"model_v{int(newest[1]) + 1 if newest else 2}.pt"

    def lacking(self) -> str | None:
        """How the bundle gets the weights that it lacks; None when it has some."""
        if self.weights():
            return None
        return (
            f"{self.name} has no weights: train them as docs/README.md in {self.root} says, or copy them to "
            f"{self.root / 'models' / FIRST_WEIGHTS}"
        )


def bundle_folders() -> list[Path]:
    """Folders of the bundles that came with the package: in an installed wheel within it, in a clone beside it."""
    package = Path(__file__).resolve().parent
    folders = [package / "bundles", package.parent / "bundles"]
    return sorted(path.parents[1] for folder in folders for path in folder.glob(f"*/configs/{INFERENCE}"))


def find_bundle(path: str | os.PathLike[str]) -> Path:
    """Find a bundle's folder by its path, or by the first words of its name among those that came with the package.

    Raises:
        FileNotFoundError: when there is none, or several names begin like this.
    """
    folder = Path(path)
    if (folder / "configs" / INFERENCE).is_file():
        return folder.resolve()
    known = bundle_folders()
    # a name, and not a folder that is no bundle
    found = (
        [] if folder.exists() or len(folder.parts) != 1 else [f for f in known if f"{f.name}_".startswith(f"{path}_")]
    )
    if len(found) == 1:
        return found[0]
    names = ", ".join(f.name for f in known) or "none"
    raise FileNotFoundError(
        f"bundle {path} is no folder with configs/{INFERENCE}, nor the name of one that came with the package: {names}"
    )


def about(root: str | os.PathLike[str], weights: str | os.PathLike[str], **settings: Any) -> dict[str, Any]:
    """Gather what a report tells of the bundle and the settings that it was made with.

    Args:
        root: the bundle's folder.
        weights: file with the weights.
        settings: all else, by name.

    Returns:
        "bundle" (name and version), "weights" (path and digest) and the settings.
    """
    bundle, file = Bundle(root), Path(weights)
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "missing"
    told = {"bundle": f"{bundle.name} {bundle.metadata['version']}", "weights": f"{file}, SHA-256 {digest}"}
    return {**told, **settings}


def literal(value: str | os.PathLike[str]) -> str:
    """Write text so that a config takes it as it is: as an expression without any sign that means something there."""
    text = os.fspath(value)
    return "$'" + "".join(c if c.isascii() and c.isalnum() else f"\\U{ord(c):08x}" for c in text) + "'"


def parsed(parser: ConfigParser, name: str) -> Any:
    """Make the object of an id; what MONAI or :func:`or_exit` wraps a user's mistake into is taken off.

    Raises:
        ValueError, OSError, FloatingPointError: what is wrong with a setting, a file, or a training's numbers.
    """
    try:
        return parser.get_parsed_content(name)
    except (RuntimeError, SystemExit) as error:
        if (mistake := user_mistake(error)) is not None:
            raise mistake from error
        raise


def user_mistake(error: BaseException) -> ValueError | OSError | FloatingPointError | None:
    """Find what a user did wrong behind an error that MONAI raised while it parsed a config; None if it is another."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (ValueError, OSError, FloatingPointError)):
            return cause
        cause = cause.__cause__
    return None


def plain_errors() -> None:
    """End the program with a message alone where a setting or a file is at fault, or the user interrupts it.

    For commands, as it lasts. A warning of MONAI that tells users nothing is left out, too.

    MONAI wraps what configs raise, so that a missing folder or a wrong preset ends in a page of traceback. All other
    errors are shown as they are.
    """

    def show(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        mistake = user_mistake(error)
        if isinstance(error, KeyboardInterrupt):
            print(f"interrupted{f': {error}' if str(error) else ''}", file=sys.stderr)
        elif mistake is None:
            sys.__excepthook__(kind, error, traceback)
        else:
            logger.debug("the program ends", exc_info=error)
            print(f"error: {mistake}", file=sys.stderr)

    sys.excepthook = show
    # of each of MONAI's readers, where an optional decoder for GPUs is not installed
    warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")


def or_exit(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function; where the user's input is at fault, end the program with the message alone.

    Args:
        function: what to call.
        args: its arguments.
        kwargs: its keyword arguments.

    Returns:
        What the function returns.

    Raises:
        SystemExit: with the message, when the function raises ``ValueError`` or ``OSError``; the exit code is 1.
    """
    try:
        return function(*args, **kwargs)
    except (ValueError, OSError) as error:
        logger.debug("the program ends", exc_info=True)
        raise SystemExit(f"error: {error}") from error


def label_channels(classes: Sequence[str] | Mapping[str, Any]) -> int:
    """Give the label channels of the networks of a bundle: the one place where sigmoid or softmax is decided.

    Args:
        classes: names of the classes, that of the value 1 of a mask first.

    Returns:
        1 for one class, whose probability is a sigmoid; of several, which exclude each other, one more than there are,
        background first, a softmax.

    Raises:
        ValueError: without a class, and for more than a byte can tell apart.
    """
    if not 1 <= len(classes) <= MOST_CLASSES:
        raise ValueError(f"classes names {len(classes)}, it has to be 1 to {MOST_CLASSES}")
    return 1 if len(classes) == 1 else len(classes) + 1


def largest_components(
    number: int | Mapping[str, int], classes: Sequence[str] | Mapping[str, Any]
) -> Callable[[dict[str, Any]], Any]:
    """Make the step of postprocessing that keeps the largest connected pieces of each class, diagonals connected.

    Args:
        number: pieces of every class that are kept, or of some classes by name; 0 for all.
        classes: names of the classes, that of the value 1 of the mask first.

    Returns:
        What drops the others from an item's "pred", a mask ``(1, ...)``.

    Raises:
        ValueError: for a class that there is not.
    """
    from monai.transforms import Compose, KeepLargestConnectedComponentd

    names = list(classes)
    if not isinstance(number, Mapping):
        kept: dict[int | None, int] = {None: int(number)}
    elif unknown := [name for name in number if name not in names]:
        raise ValueError(f"largest_components names {', '.join(unknown)}, the classes are {', '.join(names)}")
    else:
        kept = {names.index(name) + 1: int(pieces) for name, pieces in number.items()}
    return Compose(
        [
            KeepLargestConnectedComponentd("pred", applied_labels=value, is_onehot=False, num_components=pieces)
            for value, pieces in kept.items()
            if pieces
        ]
    )


def description(
    root: str | os.PathLike[str], classes: Mapping[str, Sequence[int]], formats: str | Sequence[str] = "auto"
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Make the step of postprocessing that tells a mask what its values mean and which files it is to become.

    What they mean is a DICOM SEG's content, by the names of dcmqi: coded terms, name and version of the algorithm from
    the bundle's metadata.json; and the measurements of each class as text.

    Args:
        root: the bundle's folder.
        classes: names and colours of the classes, that of the value 1 first.
        formats: names of formats, as a list or with commas; "auto" is the image's own, PNG or NIfTI.

    Returns:
        What puts them into the metadata of an item's "pred", as "segments" and "formats".

    Raises:
        ValueError: for a format that is unknown or lacks its package, or where the metadata has no terms for a class.
    """
    from monai_semgan.formats import AUTO, MASK_FORMATS
    from monai_semgan.metrics import in_words

    names = [name.strip() for name in (formats.split(",") if isinstance(formats, str) else formats)]
    for name in names:
        if name != AUTO and name not in MASK_FORMATS:
            raise ValueError(f"format {name} is unknown: say {', '.join((AUTO, *sorted(MASK_FORMATS)))}")
    metadata = Path(root) / "configs" / "metadata.json"
    content = json.loads(metadata.read_text(encoding="utf-8")) if metadata.is_file() else {}
    terms = content.get("coded_terms", {})
    if "seg" in names:
        lacking = [name for name in classes if name not in terms]
        if lacking:
            raise ValueError(f"format seg needs the coded_terms of {', '.join(lacking)} in {metadata}")
        if importlib.util.find_spec("highdicom") is None:
            raise ValueError('format seg needs highdicom: pip install "monai-semgan[seg]"')
    algorithm = {
        "SegmentAlgorithmName": Path(root).resolve().name,
        "SegmentAlgorithmVersion": str(content.get("version", "")),
    }
    segments = [
        {"SegmentLabel": name, "recommendedDisplayRGBValue": list(colour), **algorithm, **terms.get(name, {})}
        for name, colour in classes.items()
    ]

    def describe(item: dict[str, Any]) -> dict[str, Any]:
        sizes = item.get("measurements", {})
        told = []
        for segment in segments:
            own = {name: values for name, values in sizes.items() if class_of(name, classes) == segment["SegmentLabel"]}
            told.append({**segment, "SegmentDescription": ", ".join(in_words(own))})
        item["pred"].meta.update(segments=told, formats=names)
        return item

    return describe


def class_of(measurement: str, classes: Iterable[str]) -> str | None:
    """Name the class that a measurement is of: that with the longest name in its own; None for none."""
    found = [name for name in classes if name.replace(" ", "_") in measurement]
    return max(found, key=len, default=None)


def flag(value: Any) -> bool:
    """Read a yes or no that a command line may give as text.

    Raises:
        SystemExit: when it is neither.
    """
    from monai_semgan.networks.precision import WORDS

    word = WORDS.get(str(value).strip().lower())
    if not isinstance(word, bool):
        raise SystemExit(f"error: {value!r} is no choice between yes and no: say true or false")
    return word


def run_cohort(evaluator: Any) -> None:
    """Run an evaluator, also where nothing is left to do; handlers then still begin and complete their files.

    Raises:
        SystemExit: with the message, when the user's input is at fault; with code 130, when the user interrupts it.
    """
    from ignite.engine import Events

    if len(evaluator.data_loader) == 0:
        # ignite refuses to iterate over nothing
        for event in (Events.STARTED, Events.COMPLETED):
            or_exit(evaluator.fire_event, event)
    else:
        try:
            or_exit(evaluator.run)
        except KeyboardInterrupt as stopped:
            print(f"interrupted: {stopped}", file=sys.stderr)
            # Python ends by the signal, whoever handles it, where it passes through eval() as configs use it
            raise SystemExit(INTERRUPTED) from stopped


def give_back_freed_memory() -> None:
    """Tell the GNU C library to give the system what was freed, such as a volume, before as much is asked for again.

    Memory that :func:`keep_freed_memory` keeps is in pieces, between which there may be no room for a volume.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)


def keep_freed_memory(device: torch.device | str = "cpu") -> bool:
    """Tell the GNU C library to keep what this process frees, from now on and for all of its code.

    Large tensors of the CPU are otherwise given back to the system when they are freed, and the next ones are cleared
    page by page: a fifth of a step's time where feature maps take tens of MiB. Memory in use stays at its highest.

    Args:
        device: where the tensors are; nothing is done for others than the CPU's.

    Returns:
        Whether it was done; other C libraries stay as they are.
    """
    if str(device).partition(":")[0] != "cpu" or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
