"""Files what a student writes, batch by batch, so that a prediction that is cut off continues where it was."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from apo_lightning.files import atomic, jsonlines
from apo_lightning.types import Answer

log = logging.getLogger(__name__)


class PredictionFiles(BasePredictionWriter):
    """One file a batch under ``<folder>/parts``, written under a temporary name and renamed."""

    def __init__(self, folder: str | Path = ".") -> None:
        super().__init__(write_interval="batch")
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

    def write_on_batch_end(self, trainer: Trainer, pl_module: LightningModule, prediction: Any, *where: Any) -> None:
        path = self.parts / f"{prediction.number:06d}.json"
        if path.is_dir():
            atomic.remove(path)
        texts = [[answer.text for answer in answers] for answers in prediction.answers]
        cut = [[answer.cut for answer in answers] for answers in prediction.answers]
        atomic.write_text(path, jsonlines.dumps({"studies": prediction.studies, "texts": texts, "cut": cut}))

    def answers(self) -> dict[str, list[Answer]]:
        """Study id to its answers, over all batches on disk."""
        return {study: answers for _, part in sorted(self._whole().items()) for study, answers in part.items()}

    def _whole(self) -> dict[int, dict[str, list[Answer]]]:
        """Batch number to study id to answers."""
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


def _read(path: Path, asked: Sequence[str] | None) -> dict[str, list[Answer]]:
    """
    Raises:
        OSError, ValueError: this is no part, or one of other studies.
    """
    part = jsonlines.parse(path.read_bytes(), keys=("studies", "texts", "cut"))
    studies, texts, cut = part["studies"], part["texts"], part["cut"]
    if not (_is_list(studies, str) and _are_lists(texts, str) and _are_lists(cut, bool)):
        raise ValueError("it is no list of studies with their texts")
    if list(map(len, texts)) != list(map(len, cut)):
        raise ValueError("its texts and what it says of their ends differ in number")
    if len(studies) != len(texts) or (asked is not None and studies != list(asked)):
        raise ValueError("it is about other studies")
    answers = [[Answer(*pair) for pair in zip(own, ends, strict=True)] for own, ends in zip(texts, cut, strict=True)]
    return dict(zip(studies, answers, strict=True))


def _are_lists(value: Any, kind: type) -> bool:
    return _is_list(value, list) and all(_is_list(own, kind) and own for own in value)


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)
