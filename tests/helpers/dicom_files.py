"""Small DICOM files, written by pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

UID_ROOT = "1.2.826.0.1.3680043.8.498."


def dataset(pixels: Any, *, syntax: UID = ExplicitVRLittleEndian, **tags: Any) -> FileDataset:
    """A chest radiograph. ``pixels``: ``[H, W]`` or ``[H, W, 3]`` of uint8, uint16 or int16, or the bytes of an encoded
    image. Tags replace the usual values; None removes one."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = UID_ROOT + "1"
    data = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    array = pixels if isinstance(pixels, np.ndarray) else np.zeros((2, 2), np.uint8)
    usual = dict(
        SOPClassUID=meta.MediaStorageSOPClassUID,
        SOPInstanceUID=UID_ROOT + "1",
        PatientID="p1",
        StudyInstanceUID=UID_ROOT + "2",
        SeriesInstanceUID=UID_ROOT + "3",
        Modality="DX",
        BodyPartExamined="CHEST",
        ViewPosition="PA",
        PatientPosition=None,
        StudyDate="20200102",
        StudyTime="030405",
        StudyDescription="Chest",
        Rows=array.shape[0],
        Columns=array.shape[1],
        SamplesPerPixel=array.shape[2] if array.ndim == 3 else 1,
        PhotometricInterpretation="RGB" if array.ndim == 3 else "MONOCHROME2",
        BitsAllocated=8 * array.itemsize,
        BitsStored=8 * array.itemsize,
        HighBit=(tags.get("BitsStored") or 8 * array.itemsize) - 1,
        PixelRepresentation=int(array.dtype.kind == "i"),
    )
    if array.ndim == 3:
        usual["PlanarConfiguration"] = 0
    for name, value in {**usual, **tags}.items():
        if value is not None:
            setattr(data, name, value)
    if pixels is not None:
        data.PixelData = pixels.tobytes() if isinstance(pixels, np.ndarray) else pixels
        data["PixelData"].VR = "OW" if array.itemsize == 2 else "OB"
    return data


def dicom_file(path: Path, pixels: Any, **how: Any) -> Path:
    """``dataset`` as a file."""
    data = dataset(pixels, **how)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def table(first: int, entries: list[int], bits: int) -> Dataset:
    """An item of a modality or VOI LUT sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    return item
