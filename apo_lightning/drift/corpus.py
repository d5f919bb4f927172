"""What several teachers' texts of the same studies state, as arrays that everything in this room counts on.

Letters in shapes: S studies in the order of their stream, N teachers, F findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from apo_lightning.errors import DataError
from apo_lightning.text.labeler import KINDS, Sentence, parse, reading
from apo_lightning.types import Study, Trajectory

SIDES = ("", "left", "right", "bilateral")
SEVERITIES = ("", "mild", "moderate", "severe")
"""What the codes in ``sides`` and ``severities`` stand for; 0 is not said."""

Texts = Mapping[str, Mapping[str, str]]
"""Study to teacher to text."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """The texts and what they state.

    Attributes:
        studies: ids, length S, by ``place`` (equal places in the order in which they were given).
        patients: of each study.
        teachers: names, length N.
        findings: names, length F.
        texts: study to teacher to text.
        place: ``[S]`` of the study in the stream, in [0, 1].
        present: ``[S, N]`` bool, the teacher has a text.
        kind: ``[S, N]`` int8, index into `labeler.KINDS`; -1 without a text.
        said: ``[S, N, F]`` 1 present, 0 absent, NaN not stated (or no text).
        sides: ``[S, N, F]`` int8 into `SIDES`: where a present finding lies; of an absent one the only side denied.
        severities: ``[S, N, F]`` int8 into `SEVERITIES`, of present findings.
        hedged: ``[S, N, F]`` bool, said with doubt.
        steps: ``[S, N, F]`` where in the text the finding is stated: i / (n - 1) of the i-th of its n sentences that
            state something, .5 of a single one; NaN not stated. The sentence is the last that says what ``said`` holds.
        lengths: ``[S, N]`` words, 0 without a text.
        truth: ``[S, F]`` 1, 0, NaN unknown; None where nothing is known.
        true_sides: ``[S, F]`` int8 into `SIDES`; None where no side is known.
        true_severities: the same into `SEVERITIES`.
    """

    studies: tuple[str, ...]
    patients: tuple[str, ...]
    teachers: tuple[str, ...]
    findings: tuple[str, ...]
    texts: Texts
    place: np.ndarray
    present: np.ndarray
    kind: np.ndarray
    said: np.ndarray
    sides: np.ndarray
    severities: np.ndarray
    hedged: np.ndarray
    steps: np.ndarray
    lengths: np.ndarray
    truth: np.ndarray | None = None
    true_sides: np.ndarray | None = None
    true_severities: np.ndarray | None = None

    @classmethod
    def read(
        cls,
        texts: Texts,
        findings: Sequence[str],
        truth: Mapping[str, Mapping[str, float]] | None = None,
        patients: Mapping[str, str] | None = None,
        places: Mapping[str, float] | None = None,
        true_sides: Mapping[str, Mapping[str, str | None]] | None = None,
        true_severities: Mapping[str, Mapping[str, str | None]] | None = None,
    ) -> Corpus:
        """Read every text once.

        Args:
            texts: study to teacher to text; not every teacher need have one of every study.
            findings: what is looked for.
            truth: study to finding to 1 present, 0 absent, NaN unknown; what is left out is unknown.
            patients: study to patient; by default every study is a patient of its own.
            places: study to its place in the stream, in [0, 1]; by default spread evenly in the order of ``texts``.
            true_sides: study to finding to left, right, bilateral or None.
            true_severities: study to finding to mild, moderate, severe or None.

        Raises:
            DataError: no study, no finding, a study without patient or place, or a value that is not allowed.
        """
        place = _placed(list(texts), places)
        studies = tuple(np.array(list(texts), object)[np.argsort(place, kind="stable")])
        teachers = tuple(dict.fromkeys(name for own in texts.values() for name in own))
        _check_asked(studies, teachers, findings)
        own = [_missing_none("patient", study, patients) if patients else study for study in studies]
        return cls(
            studies,
            tuple(map(str, own)),
            teachers,
            tuple(findings),
            {study: dict(texts[study]) for study in studies},
            np.sort(place, kind="stable"),
            **_stated(texts, studies, teachers, findings),
            truth=_true(studies, findings, truth),
            true_sides=_coded(studies, findings, true_sides, SIDES, "side"),
            true_severities=_coded(studies, findings, true_severities, SEVERITIES, "severity"),
        )

    @classmethod
    def of(cls, trajectories: Iterable[Trajectory], studies: Iterable[Study], findings: Sequence[str]) -> Corpus:
        """Of the records of a run: labels, sides and patients are those of ``studies``, the place of a study is the
        mean of its trajectories' ``t``.

        Raises:
            DataError: a trajectory is of no study of ``studies``, a teacher has two of one, or as `read`.
        """
        known = {study.id: study for study in studies}
        texts: dict[str, dict[str, str]] = {}
        times: dict[str, list[float]] = {}
        for one in trajectories:
            if one.study not in known or one.teacher in texts.get(one.study, ()):
                problem = "is in no data set" if one.study not in known else f"has two texts of '{one.teacher}'"
                raise DataError(f"drift: study '{one.study}' {problem}; give each teacher one text a study")
            texts.setdefault(one.study, {})[one.teacher] = one.text
            times.setdefault(one.study, []).append(one.t)
        return cls.read(
            texts,
            findings,
            {name: known[name].findings for name in texts},
            {name: known[name].patient for name in texts},
            {name: float(np.mean(own)) for name, own in times.items()},
            {name: {f: detail.side for f, detail in known[name].details.items()} for name in texts},
            {name: {f: detail.severity for f, detail in known[name].details.items()} for name in texts},
        )

    def only(self, studies: np.ndarray | None = None, teachers: Sequence[str] | None = None) -> Corpus:
        """The same with some studies (``[S]`` bool) or some teachers (in the order given) left."""
        rows = np.flatnonzero(np.ones(len(self.studies), bool) if studies is None else studies)
        names = self.teachers if teachers is None else tuple(teachers)
        columns = [self.teachers.index(name) for name in names]
        kept = tuple(self.studies[i] for i in rows)
        return replace(
            self,
            studies=kept,
            patients=tuple(self.patients[i] for i in rows),
            teachers=names,
            texts={s: {name: t for name, t in self.texts[s].items() if name in names} for s in kept},
            place=self.place[rows],
            **{name: getattr(self, name)[np.ix_(rows, columns)] for name in _BY_TEACHER},
            **{name: None if (own := getattr(self, name)) is None else own[rows] for name in _BY_STUDY},
        )


_BY_TEACHER = ("present", "kind", "said", "sides", "severities", "hedged", "steps", "lengths")
_BY_STUDY = ("truth", "true_sides", "true_severities")


def _check_asked(studies: Sequence[str], teachers: Sequence[str], findings: Sequence[str]) -> None:
    if not studies or not teachers:
        raise DataError("drift: there is no text to read; collect or import texts of at least one teacher")
    if not findings or len(set(findings)) != len(findings):
        raise DataError(f"drift: name at least one finding and none twice, got [{', '.join(findings)}]")


def _missing_none(what: str, study: str, given: Mapping[str, object]) -> object:
    if study not in given:
        raise DataError(f"drift: study '{study}' has texts and no {what}; give one for every study, or none at all")
    return given[study]


def _placed(studies: Sequence[str], places: Mapping[str, float] | None) -> np.ndarray:
    """``[S]`` in the order of ``studies``."""
    if places is None:
        return np.linspace(0, 1, len(studies)) if len(studies) > 1 else np.zeros(len(studies))
    found = np.array([float(_missing_none("place", study, places)) for study in studies])  # type: ignore[arg-type]
    for study, place in zip(studies, found, strict=True):
        if not 0 <= place <= 1:
            raise DataError(f"drift: the place of study '{study}' in its stream must be in [0, 1], got {place}")
    return found


def _stated(
    texts: Texts, studies: Sequence[str], teachers: Sequence[str], findings: Sequence[str]
) -> dict[str, np.ndarray]:
    """The arrays of `_BY_TEACHER`."""
    rows, size = (len(studies), len(teachers)), (len(studies), len(teachers), len(findings))
    found = {
        "present": np.zeros(rows, bool),
        "kind": np.full(rows, -1, np.int8),
        "said": np.full(size, np.nan),
        "sides": np.zeros(size, np.int8),
        "severities": np.zeros(size, np.int8),
        "hedged": np.zeros(size, bool),
        "steps": np.full(size, np.nan),
        "lengths": np.zeros(rows, int),
    }
    for i, study in enumerate(studies):
        for j, teacher in enumerate(teachers):
            if teacher in texts[study]:
                for name, value in read_text(texts[study][teacher], findings).items():
                    found[name][i, j] = value
    return found


def read_text(text: str, findings: Sequence[str]) -> dict[str, object]:
    """One text's entries of the arrays of `Corpus`.

    >>> found = read_text("Possible mild left pneumonia. No edema.", ("edema", "pneumonia"))
    >>> found["said"], found["sides"], found["severities"], found["hedged"], found["steps"]
    ([0.0, 1.0], [0, 1], [0, 1], [False, True], [1.0, 0.0])
    """
    whole, said = reading(text, findings), parse(text, findings)
    told = [_told(whole.stated, name, said[name]) for name in findings]
    sides, severities, hedged, steps = map(list, zip(*told, strict=True))
    return {
        "present": True,
        "kind": KINDS.index(whole.kind),
        "said": list(said.values()),
        "sides": sides,
        "severities": severities,
        "hedged": hedged,
        "steps": steps,
        "lengths": len(text.split()),
    }


def _told(sentences: Sequence[Sentence], name: str, value: float) -> tuple[int, int, bool, float]:
    """Side, severity, doubt and place of a finding, from the sentences that say what the whole text says of it."""
    saying = [(i, s) for i, s in enumerate(sentences) if s.values.get(name) == value]
    if not saying:
        return 0, 0, False, np.nan
    side = [(s.sides if value == 1 else s.denied_sides).get(name, "") for _, s in saying]
    grade = [s.severities.get(name, "") for _, s in saying]
    last, sentence = saying[-1]
    step = last / (len(sentences) - 1) if len(sentences) > 1 else 0.5
    return _last(side, SIDES), _last(grade, SEVERITIES), name in sentence.hedged, step


def _last(named: Sequence[str], codes: Sequence[str]) -> int:
    return codes.index(next((word for word in reversed(named) if word), ""))


def _true(
    studies: Sequence[str], findings: Sequence[str], truth: Mapping[str, Mapping[str, float]] | None
) -> np.ndarray | None:
    if truth is None:
        return None
    rows = [[float(truth.get(study, {}).get(name, np.nan)) for name in findings] for study in studies]
    found = np.array(rows).reshape(len(studies), len(findings))
    for i, f in np.argwhere(~np.isnan(found) & (found != 0) & (found != 1)):
        raise DataError(f"drift: {findings[f]} of study '{studies[i]}' must be 1, 0 or unknown, got {found[i, f]}")
    return None if np.isnan(found).all() else found


def _coded(
    studies: Sequence[str],
    findings: Sequence[str],
    told: Mapping[str, Mapping[str, str | None]] | None,
    codes: Sequence[str],
    what: str,
) -> np.ndarray | None:
    """``[S, F]``; None where nothing is told."""
    if told is None:
        return None
    named = [[told.get(study, {}).get(name) or "" for name in findings] for study in studies]
    for study, row in zip(studies, named, strict=True):
        odd = [word for word in row if word not in codes]
        if odd:
            raise DataError(f"drift: a {what} must be {', '.join(codes[1:])}, got '{odd[0]}' of study '{study}'")
    found = np.array([[codes.index(word) for word in row] for row in named], np.int8)
    return found if found.any() else None
