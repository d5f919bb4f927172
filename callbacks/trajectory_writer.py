"""Files what a student writes, batch by batch, so that a prediction that is cut off continues where it was."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from apo_lightning import files, jsonlines
from callbacks import CALLBACKS

log = logging.getLogger(__name__)


@CALLBACKS.register("trajectory_writer")
class TrajectoryWriter(Callback):
    """One file a batch under ``<folder>/parts``, written under a temporary name and renamed."""

    def __init__(self, folder: str = ".") -> None:
        self.parts = Path(folder) / "parts"
        self.asked: list[list[str]] | None = None

    def expect(self, studies: Sequence[str], size: int) -> int:
        """From here on only parts of these studies count, in batches of ``size``. Returns the number of batches."""
        self.asked = [list(studies[start : start + size]) for start in range(0, len(studies), size)]
        return len(self.asked)

    def done(self) -> frozenset[int]:
        """Numbers of the batches that are on disk and whole. Of the others a warning says that they are asked again;
        what is not named like a part is left alone."""
        return frozenset(self._whole())

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any,
                             batch_idx: int, dataloader_idx: int = 0) -> None:  # fmt: skip
        path = self.parts / f"{outputs.number:06d}.json"
        if path.is_dir():
            files.remove(path)
        files.write_text(path, jsonlines.dumps({"studies": outputs.studies, "texts": outputs.texts}))

    def texts(self) -> dict[str, list[str]]:
        """Study id to its texts, over all batches on disk."""
        return {study: texts for _, part in sorted(self._whole().items()) for study, texts in part.items()}

    def _whole(self) -> dict[int, dict[str, list[str]]]:
        """Batch number to study id to texts."""
        found = {}
        for path in self.parts.glob("*.json"):
            number = int(path.stem) if re.fullmatch(r"[0-9]{6,}", path.stem) else None
            if number is None or (self.asked is not None and number >= len(self.asked)):
                continue
            try:
                found[number] = _read(path, self.asked and self.asked[number])
            except (OSError, ValueError) as error:
                what = getattr(error, "strerror", None) or error
                log.warning("%s is damaged (%s): its studies are asked again.", path, what)
        return found


def _read(path: Path, asked: Sequence[str] | None) -> dict[str, list[str]]:
    """
    Raises:
        OSError, ValueError: this is no part, or one of other studies.
    """
    part = jsonlines.parse(path.read_bytes(), keys=("studies", "texts"))
    studies, texts = part["studies"], part["texts"]
    if not (_is_list(studies, str) and _is_list(texts, list) and all(_is_list(own, str) and own for own in texts)):
        raise ValueError("it is no list of studies with their texts")
    if len(studies) != len(texts) or (asked is not None and studies != list(asked)):
        raise ValueError("it is about other studies")
    return dict(zip(studies, texts, strict=True))


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)
