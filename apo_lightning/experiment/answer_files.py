"""What an evaluation leaves: its answers, what was read in them, what probes found, and the scores of all that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from apo_lightning.files.formats import write_json
from apo_lightning.files.jsonlines import write as write_jsonl
from apo_lightning.metrics.answers import prediction_row, text_outcomes
from apo_lightning.metrics.outcomes import MEAN
from apo_lightning.metrics.probes import measured
from apo_lightning.types import Answer, Study


def write(
    folder: Path,
    answers: Mapping[str, Sequence[Answer]],
    studies: Sequence[Study],
    findings: Sequence[str],
    as_read: Callable[[str], str],
    beside: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """``predictions.jsonl``, a file for each of ``beside`` that has lines, and ``scores.json``.

    Args:
        folder: of the step.
        answers: study to its answers, of which the first is read.
        studies: that were asked about.
        findings: those that are scored.
        as_read: makes of a text what is read of it.
        beside: lines by the name of their file.
    """
    texts = {study: written[0].text for study, written in answers.items()}
    rows = [
        prediction_row(study, answers[study.id][0].text, findings, as_read, answers[study.id][0].cut)
        for study in studies
    ]
    write_jsonl(folder / "predictions.jsonl", rows)
    cut = sum(answers[study.id][0].cut for study in studies) / len(studies)
    read_as = {study: as_read(text) for study, text in texts.items()}
    scores = [*text_outcomes(read_as, studies, findings).rows(), ("cut", MEAN, cut)]
    for name, lines in beside.items():
        if lines:
            write_jsonl(folder / f"{name}.jsonl", lines)
            scores += measured(name, lines, as_read).rows()
    write_json(folder / "scores.json", [list(row) for row in scores])
