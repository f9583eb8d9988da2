# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""MGH, the volumes of FreeSurfer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from monai.data import MetaTensor

from monai_semgan.formats.nifti import load
from monai_semgan.formats.registry import Format, register


@register
class MGH(Format):
    """Volumes of FreeSurfer, compressed or not."""

    name = "mgh"
    suffixes = (".mgz", ".mgh")
    spatial_dims = (3,)

    def read(self, path: Path, spatial_dims: int = 3) -> MetaTensor:
        """Read a volume."""
        image, array = load(path, "MGH")
        return self.volume(array, path, np.asarray(image.affine, dtype=np.float64))
