# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""One room for the formats of image files: a file each, which becomes known by its line here."""

from __future__ import annotations

from monai_semgan.formats.dicom import DICOM as DICOM
from monai_semgan.formats.dicom_seg import write_seg as write_seg
from monai_semgan.formats.dicom_series import DICOMSeries as DICOMSeries
from monai_semgan.formats.dicom_sr import write_sr as write_sr
from monai_semgan.formats.itk import ITK as ITK
from monai_semgan.formats.memory import in_memory as in_memory
from monai_semgan.formats.mgh import MGH as MGH
from monai_semgan.formats.nifti import NIfTI as NIfTI
from monai_semgan.formats.picture import Picture as Picture
from monai_semgan.formats.registry import AUTO as AUTO
from monai_semgan.formats.registry import FORMATS as FORMATS
from monai_semgan.formats.registry import MASK_FORMATS as MASK_FORMATS
from monai_semgan.formats.registry import Format as Format
from monai_semgan.formats.registry import FormatReader as FormatReader
from monai_semgan.formats.registry import Found as Found
from monai_semgan.formats.registry import Outside as Outside
from monai_semgan.formats.registry import check_image as check_image
from monai_semgan.formats.registry import format_of as format_of
from monai_semgan.formats.registry import read as read
from monai_semgan.formats.registry import register as register
from monai_semgan.formats.registry import stem as stem
from monai_semgan.formats.registry import suffix as suffix
from monai_semgan.formats.registry import suffixes as suffixes
from monai_semgan.formats.registry import text_of as text_of
from monai_semgan.formats.registry import write as write
from monai_semgan.formats.registry import write_as as write_as
from monai_semgan.formats.registry import writes as writes
