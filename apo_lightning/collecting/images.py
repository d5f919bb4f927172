"""The images of the studies that are asked about: opened when a question's turn comes, known by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from apo_lightning.errors import DataError
from apo_lightning.hashing.contents import content_digest, remembered
from apo_lightning.types import Study


def shown(study: Study) -> tuple[str, ...]:
    """References of the images of a study, in the order in which they are shown: the earlier examination first."""
    return (*(study.prior.images if study.prior else ()), *study.images)


@dataclass(frozen=True, eq=False)
class Images:
    """Where studies have their images.

    Attributes:
        open: gives those of a study, as `CXRDataModule.images` does.
        on_disk: whether those of a study are files; else a reference says what is drawn.
        memory: file of the hashes that are known, so that no image is read only to be hashed again.
    """

    open: Callable[[Study], Sequence[Image.Image]]
    on_disk: Callable[[Study], bool]
    memory: Path

    def hashes(self, studies: Sequence[Study]) -> list[tuple[str, ...]]:
        """SHA-256 of each image of each study: of a file its content's, of a drawing its reference's.

        Raises:
            DataError: a file cannot be read.
        """
        files = sorted({Path(name) for study in studies if self.on_disk(study) for name in shown(study)})
        try:
            of = dict(zip(files, remembered(files, self.memory, content_digest), strict=True)) if files else {}
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be read ({error.strerror}).") from error
        return [tuple(of.get(Path(name)) or _of_text(name) for name in shown(study)) for study in studies]


def _of_text(reference: str) -> str:
    return hashlib.sha256(reference.encode()).hexdigest()
