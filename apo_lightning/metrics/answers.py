"""What answers get right: texts of studies beside their labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from apo_lightning.metrics.findings import FindingOutcomes, of_findings
from apo_lightning.metrics.outcomes import Outcomes, Row
from apo_lightning.metrics.progression import CourseOutcomes, of_progression
from apo_lightning.text.labeler import kind, parse, read
from apo_lightning.text.progression import judges_progression, read_progression
from apo_lightning.types import Study


def labels_of(studies: Sequence[Study], findings: Sequence[str]) -> np.ndarray:
    """``[S, F]`` 1, 0, NaN."""
    each = [[study.findings.get(name, np.nan) for name in findings] for study in studies]
    return np.array(each, float).reshape(len(studies), len(findings))


def score_texts(texts: Mapping[str, str], studies: Sequence[Study], findings: Sequence[str]) -> FindingOutcomes:
    """What one text per study gets right; a study without a text counts as refused."""
    said = [texts.get(study.id, "") for study in studies]
    stated, refusals = read(said, findings)
    kinds = np.array([kind(text, findings) for text in said], dtype=object)
    return of_findings(
        labels_of(studies, findings),
        stated,
        refusals,
        findings,
        patients_of(studies),
        nothing=kinds == "nothing",
        normal=kinds == "normal",
    )


def score_progression(
    texts: Mapping[str, str], studies: Sequence[Study], findings: Sequence[str], *, every: bool = False
) -> CourseOutcomes:
    """How well texts tell the course of findings, over the studies that are labelled with it. ``every``: findings that
    no study is labelled with have their columns too."""
    labelled = [study for study in studies if study.progression]
    answers = [read_progression(texts.get(study.id, ""), findings) for study in labelled]
    courses = [study.progression for study in labelled]
    return of_progression(courses, answers, findings, patients_of(labelled), every=every)


def text_outcomes(texts: Mapping[str, str], studies: Sequence[Study], findings: Sequence[str]) -> Outcomes:
    """All that is measured on texts alone. Where studies are labelled with the course of their findings, that is what
    the texts are asked for, and "present or absent" would measure nothing."""
    return (score_progression if judges_progression(studies) else score_texts)(texts, studies, findings)


def patients_of(studies: Sequence[Study]) -> list[str]:
    return [study.patient for study in studies]


def dict_of(rows: Sequence[Row]) -> dict[tuple[str, str], float]:
    return {(metric, finding): value for metric, finding, value in rows}


def prediction_row(
    study: Study, text: str, findings: Sequence[str], as_read: Callable[[str], str], cut: bool | None = None
) -> dict[str, Any]:
    """An answer, what was read in it, and what it is compared with: all that a table needs of a study.

    Args:
        study: with patient, labels and ``images``, the paths or other references that its data set opens.
        text: what was answered.
        findings: those that are read and compared.
        as_read: makes of a text what is read of it.
        cut: whether the answer ran into the limit of new tokens: ``finish`` is then ``length``, else ``stop``. None
            where that is not known, and ``finish`` is left out.
    """
    truth = {name: study.findings.get(name, np.nan) for name in findings}
    told = {"progression": dict(study.progression)} if study.progression else {}
    said = kind(as_read(text), findings)
    return {
        "study": study.id,
        "text": text,
        "findings": _plain(parse(as_read(text), findings)),
        "kind": said,
        "refused": said == "refused",
        "patient": study.patient,
        "images": list(study.images),
        "truth": _plain(truth),
        **told,
        **({} if cut is None else {"finish": "length" if cut else "stop"}),
    }


def _plain(values: Mapping[str, float]) -> dict[str, int | None]:
    return {name: None if np.isnan(value) else int(value) for name, value in values.items()}


def answered(row: Mapping[str, Any]) -> Study:
    """The study of a line of ``predictions.jsonl``, as far as its answer is compared with it."""
    truth = {name: np.nan if value is None else float(value) for name, value in row["truth"].items()}
    return Study(row["study"], row["patient"], "", (), truth, progression=row.get("progression", {}))
