"""Reading what a stage wrote: scores and preferred texts, checked for their shape."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from apo_lightning.errors import ArtifactError
from apo_lightning.files.formats import read_json
from apo_lightning.files.jsonlines import again
from apo_lightning.files.jsonlines import read as read_jsonl
from apo_lightning.hashing import inventory
from apo_lightning.metrics.findings import MEAN
from apo_lightning.types import Answer


def read_scores(path: Path) -> list[tuple[str, str, float]]:
    """Metric, finding and value of an evaluation (``scores.json``); NaN where there is no value.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    require_whole(path)
    rows = read_json(path)
    if not isinstance(rows, list) or not all(map(_is_score, rows)):
        raise ArtifactError(f"{path} must be a list of metric, finding and number. {again(path.parent)}")
    return [(metric, finding, math.nan if value is None else float(value)) for metric, finding, value in rows]


def read_means(path: Path, split: str) -> dict[str, float]:
    """``<split>/<metric>`` to the mean over findings. Raises ArtifactError like `read_scores`."""
    return {f"{split}/{metric}": value for metric, finding, value in read_scores(path) if finding == MEAN}


def read_preferred(path: Path) -> dict[str, Answer]:
    """Study to t+ (``preferred.jsonl``).

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    require_whole(path)
    rows = read_jsonl(path, ("study", "text", "cut"))
    return {str(row["study"]): Answer(str(row["text"]), bool(row["cut"])) for row in rows}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of ``predictions.jsonl`` or ``likelihoods.jsonl``. Raises ArtifactError like `read_scores`."""
    require_whole(path)
    return read_jsonl(path)


def require_whole(path: Path) -> None:
    """
    Raises:
        ArtifactError: the file is not what its stage wrote.
    """
    if what := inventory.difference(path):
        raise ArtifactError(f"{path} {what}. {again(path.parent)}")


def _is_score(row: Any) -> bool:
    if not isinstance(row, list) or len(row) != 3:
        return False
    return all(isinstance(name, str) for name in row[:2]) and (row[2] is None or isinstance(row[2], int | float))
