"""Files what a student writes, batch by batch, so that a prediction that is cut off continues where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from apo_lightning.types import Answer
from callbacks import CALLBACKS


@CALLBACKS.register("trajectory_writer")
class TrajectoryWriter(Callback):
    """One file a batch under ``<folder>/parts``, written under a temporary name and renamed."""

    def __init__(self, folder: str = ".") -> None:
        self.parts = Path(folder) / "parts"

    def done(self) -> frozenset[int]:
        """Numbers of the batches that are on disk."""
        return frozenset(int(path.stem) for path in self.parts.glob("*.json"))

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any,
                             batch_idx: int, dataloader_idx: int = 0) -> None:  # fmt: skip
        self.parts.mkdir(parents=True, exist_ok=True)
        scratch = self.parts / f"{outputs.number:06d}.tmp"
        scratch.write_text(json.dumps(_plain(outputs)))
        scratch.replace(scratch.with_suffix(".json"))

    def answers(self) -> dict[str, list[Answer]]:
        """Study id to its answers, over all batches on disk."""
        found: dict[str, list[Answer]] = {}
        for path in sorted(self.parts.glob("*.json")):
            part = json.loads(path.read_text())
            for study, texts, cut in zip(part["studies"], part["texts"], part["cut"], strict=True):
                found[study] = [Answer(*pair) for pair in zip(texts, cut, strict=True)]
        return found


def _plain(outputs: Any) -> dict[str, Any]:
    texts = [[answer.text for answer in answers] for answers in outputs.answers]
    cut = [[answer.cut for answer in answers] for answers in outputs.answers]
    return {"studies": outputs.studies, "texts": texts, "cut": cut}
