"""DICOM radiographs: what is refused, and how stored values become an 8-bit picture."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def read_dicom(path: Path) -> Image.Image:
    raise NotImplementedError
