# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""SemanticGAN (Li et al., CVPR 2021, arXiv:2104.05833) for MONAI.

A generative model of images and their label maps. It learns from many images and few labels, and segments a new
image by finding the latent code that regenerates it. The tree mirrors MONAI's own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_semgan.bundle import Bundle
    from monai_semgan.predictor import Prediction, Predictor

__version__ = "0.2.0"
__all__ = ["Bundle", "Prediction", "Predictor", "__version__", "segment"]


def segment(images: Any, bundle: str | os.PathLike[str] | Bundle, preset: str | None = None, **settings: Any) -> Any:
    """Segment one image, or several, with a bundle.

    To segment many images one after the other, keep the predictor:
    :meth:`monai_semgan.predictor.Predictor.from_bundle`.

    Args:
        images: a path, an array, a tensor, a PIL, SimpleITK or nibabel image, or a list of these; see
            :meth:`monai_semgan.predictor.Predictor.__call__`.
        bundle: a bundle's folder, or the name of one that came with the package, such as ``"lung_xray"``.
        preset: "fast", "balanced" or "best"; by default the bundle's own.
        settings: "answer", "device", and values of the bundle's inference config by id.

    Returns:
        A :class:`monai_semgan.predictor.Prediction`; of a list a list.
    """
    from monai_semgan.predictor import Predictor

    return Predictor.from_bundle(bundle, preset, **settings)(images)


def __getattr__(name: str) -> Any:
    """Import the public classes when they are asked for: torch and MONAI take seconds."""
    if name == "Bundle":
        from monai_semgan.bundle import Bundle

        return Bundle
    if name in ("Prediction", "Predictor"):
        from monai_semgan import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
