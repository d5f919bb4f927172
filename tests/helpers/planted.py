"""Small trainings with a fault planted in them, and healthy ones, for the callbacks that watch training."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from apo_lightning.experiment.jsonl_logger import JsonlLogger
from apo_lightning.losses import LOSSES
from apo_lightning.models.student import Student
from apo_lightning.nano import parts
from apo_lightning.phantom.drawing import draw
from apo_lightning.phantom.world import cases
from apo_lightning.settings import OptimSettings
from apo_lightning.stages.apo import APO
from apo_lightning.types import PREFERRED, Branch, BranchBatch, Example
from callbacks.failure_signatures import FailureSignatures
from tests.helpers import tiny

STUDIES, BATCH, STEPS, WINDOW = 24, 4, 16, 4
FINDINGS = ("edema", "pneumonia", "consolidation")
OWN, OTHER = ("Edema is seen.", "No edema."), ("There is evidence of edema.", "Edema is excluded.")
"""Present and absent, in two wordings."""


def wording(style: Sequence[str], present: Sequence[bool]) -> str:
    """One sentence a finding."""
    said = (style[0 if yes else 1] for yes in present)
    return " ".join(s.replace("edema", f).replace("Edema", f.capitalize()) for f, s in zip(FINDINGS, said, strict=True))


def contradicted(seed: int) -> list[dict[str, str]]:
    """t+ says that nothing is there, and two teachers in the same words that this or that is: they conflict, and share
    a style. What a teacher contradicts is what its margin is made of."""
    own, rows = random.Random(seed), []
    for _ in range(STUDIES):
        wrong = [[own.random() < 0.5 for _ in FINDINGS] for _ in range(2)]
        rows.append({PREFERRED: wording(OWN, [False] * 3)} | {f"t{u}": wording(OWN, w) for u, w in enumerate(wrong)})
    return rows


def styled(seed: int) -> list[dict[str, str]]:
    """All say the same of every finding; t+ alone has other words."""
    own, rows = random.Random(seed), []
    for _ in range(STUDIES):
        present = [own.random() < 0.5 for _ in FINDINGS]
        rows.append({PREFERRED: wording(OWN, present), **{f"t{u}": wording(OTHER, present) for u in range(2)}})
    return rows


def outvoted(seed: int) -> list[dict[str, str]]:
    """A teacher that denies everything, as t+ does of most studies; where t+ has seen something, it is contradicted."""
    own, rows = random.Random(seed), []
    nothing = wording(OWN, [False] * 3)
    for study in range(STUDIES):
        seen = [True, own.random() < 0.5, own.random() < 0.5]
        rows.append({PREFERRED: nothing if study % 4 else wording(OTHER, seen), "t0": nothing, "t1": nothing})
    return rows


@cache
def _drawn() -> list[Any]:
    return [(case, draw(case, parts.SIDE)) for case in cases(3, STUDIES)]


def batches(rows: Sequence[dict[str, str]]) -> list[BranchBatch]:
    items = [
        (Example(tiny.study(case), tuple(Branch(name, text) for name, text in row.items())), [image])
        for (case, image), row in zip(_drawn(), rows, strict=True)
    ]
    return [tiny.collator()(items[i : i + BATCH]) for i in range(0, STUDIES, BATCH)]


def train(
    folder: Path,
    rows: Sequence[dict[str, str]],
    loss: str = "apo_listwise",
    lr: float = 5e-3,
    seed: int = 0,
    watch: FailureSignatures | None = None,
    embedded: bool = False,
    **settings: Any,
) -> list[dict[str, Any]]:
    """What ``failures.json`` holds after a training of a nano student on ``rows``, with random weights or the embedded
    ones; metrics lie beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = LOSSES[loss](
        **({"beta": 0.5, "nll_weight": 0.0, "reduction": "sum"} | settings) if loss != "sft" else settings
    )
    student = Student.load(tiny.settings()) if embedded else tiny.student()
    stage = APO(student.make_trainable(seed=seed), made, OptimSettings(lr=lr), steps=STEPS, seed=seed)
    given = batches(rows)
    order = [given[i % len(given)] for i in range(STEPS)]
    watch = watch or FailureSignatures(str(folder), window=WINDOW)
    Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        logger=JsonlLogger(folder),
        log_every_n_steps=1,
        callbacks=[watch],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    ).fit(stage, DataLoader(order, batch_size=None))
    return json.loads((folder / "failures.json").read_text())
