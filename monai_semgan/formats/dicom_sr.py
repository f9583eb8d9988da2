# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""DICOM Structured Reports of measurements (TID 1500, PS3.16) of masks of DICOM images and series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.data import MetaTensor
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

import monai_semgan
from monai_semgan.formats.dicom_seg import LONGEST, SERIES, code, sources_of
from monai_semgan.formats.registry import with_suffix, writes

# what a measurement's name ends with, and its term; those that no scheme has are of our own
OWN = "99MONAISEMGAN"
TERMS = {
    "area": Code("42798000", "SCT", "Area"),
    "diameter": Code("81827009", "SCT", "Diameter"),
    "volume": Code("118565006", "SCT", "Volume"),
    "ratio": Code("cardiothoracic_ratio", OWN, "Cardiothoracic ratio"),
    "dice": Code("predicted_dice", OWN, "Predicted Dice coefficient"),
}
# units that UCUM writes in braces
COUNTED = ("pixels", "voxels")
# ends of the names of what is of the whole mask
WHOLE = ("ratio", "dice")
SIDES = {"right": Code("24028007", "SCT", "Right"), "left": Code("7771000", "SCT", "Left")}
PROCEDURE = Code("363679005", "SCT", "Imaging procedure")


@writes("sr")
def write_sr(mask: MetaTensor, path: Path) -> Path:
    """Write what was measured of a mask as a DICOM SR that refers to the images that it is of.

    Each class is a group of measurements, with its term as finding; what cannot be measured is left out.

    Args:
        mask: see :func:`monai_semgan.formats.write_seg`. Its metadata has as "measurements" what
            :class:`monai_semgan.metrics.Measurements` found, and as "predicted_dice" how good the mask is likely to be.
        path: file without suffix.

    Returns:
        The file, ``..._sr.dcm``.

    Raises:
        ValueError: when the image is no DICOM, cannot be referred to, or nothing was measured.
    """
    name, images, _ = sources_of(mask)
    from highdicom import sr

    found: Mapping[str, Mapping[str, float | None]] = mask.meta.get("measurements", {})
    if dice := mask.meta.get("predicted_dice"):
        found = {**found, "predicted_dice": {"1": dice}}
    groups: list[Any] = []
    for segment in mask.meta["segments"]:
        word = segment["SegmentLabel"].replace(" ", "_")
        own = {key: values for key, values in found.items() if word in key}
        # what is of all classes stands with the first
        own |= {} if groups else {key: values for key, values in found.items() if key.endswith(WHOLE)}
        if group := group_of(segment, own, images):
            groups.append(group)
    if not groups:
        raise ValueError(f"nothing was measured of the mask of {name}")
    labels = ", ".join(one["SegmentLabel"] for one in mask.meta["segments"])
    first = mask.meta["segments"][0]
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(),
        name="monai-semgan",
        manufacturer_name="monai-semgan",
        model_name=first["SegmentAlgorithmName"][:LONGEST],
    )
    observer = sr.ObserverContext(sr.CodedConcept("121007", "DCM", "Device"), device)
    try:
        report = sr.ComprehensiveSR(
            evidence=images,
            content=sr.MeasurementReport(
                observation_context=sr.ObservationContext(observer_device_context=observer),
                procedure_reported=PROCEDURE,
                imaging_measurements=groups,
            ),
            series_instance_uid=generate_uid(),
            series_number=SERIES + 1 + int(images[0].get("SeriesNumber") or 0),
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="monai-semgan",
            manufacturer_model_name=first["SegmentAlgorithmName"][:LONGEST],
            software_versions=f"monai-semgan {monai_semgan.__version__}",
            device_serial_number=first["SegmentAlgorithmVersion"],
            series_description=f"Measurements of {labels}"[:LONGEST],
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"highdicom cannot refer to {name} ({' '.join(str(error).split())})") from error
    file = with_suffix(path, "_sr.dcm")
    report.save_as(file)
    return file


def group_of(segment: Mapping[str, Any], found: Mapping[str, Mapping[str, float | None]], images: list[Any]) -> Any:
    """Make the group of a class's measurements (TID 1501); None where there are none."""
    from highdicom import sr

    term = code(segment["SegmentedPropertyTypeCodeSequence"])
    measured = []
    for name, values in found.items():
        # the first that is known
        unit = next((unit for unit, value in values.items() if value is not None), None)
        kind = name.rpartition("_")[2]
        if unit is None or kind not in TERMS:
            continue
        side = SIDES.get(name.partition("_")[0])
        sites = [sr.FindingSite(term, laterality=side)] if side else None
        unit_code = Code(f"{{{unit}}}" if unit in COUNTED else unit, "UCUM", unit)
        measured.append(sr.Measurement(TERMS[kind], float(values[unit] or 0), unit_code, finding_sites=sites))
    if not measured:
        return None
    regions = segment.get("AnatomicRegionSequence")
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=generate_uid(), identifier=segment["SegmentLabel"]),
        finding_type=term,
        finding_sites=[sr.FindingSite(code(regions))] if regions else None,
        algorithm_id=sr.AlgorithmIdentification(
            name=segment["SegmentAlgorithmName"], version=segment["SegmentAlgorithmVersion"]
        ),
        measurements=measured,
        source_images=[sr.SourceImageForMeasurementGroup(one.SOPClassUID, one.SOPInstanceUID) for one in images],
    )
