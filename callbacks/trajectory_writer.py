"""Files what a student writes, batch by batch, so that a prediction that is cut off continues where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks import CALLBACKS


@CALLBACKS.register("trajectory_writer")
class TrajectoryWriter(Callback):
    """One file a batch under ``<folder>/parts``, written under a temporary name and renamed."""

    observes: ClassVar[bool] = True

    def __init__(self, folder: str = ".") -> None:
        self.parts = Path(folder) / "parts"

    def done(self) -> frozenset[int]:
        """Numbers of the batches that are on disk."""
        return frozenset(int(path.stem) for path in self.parts.glob("*.json"))

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any,
                             batch_idx: int, dataloader_idx: int = 0) -> None:  # fmt: skip
        self.parts.mkdir(parents=True, exist_ok=True)
        scratch = self.parts / f"{outputs.number:06d}.tmp"
        scratch.write_text(json.dumps({"studies": outputs.studies, "texts": outputs.texts}))
        scratch.replace(scratch.with_suffix(".json"))

    def texts(self) -> dict[str, list[str]]:
        """Study id to its texts, over all batches on disk."""
        found: dict[str, list[str]] = {}
        for path in sorted(self.parts.glob("*.json")):
            part = json.loads(path.read_text())
            found.update(zip(part["studies"], part["texts"], strict=True))
        return found
