"""Signs of failure in answers: a student that says nothing, repeats, shrinks, says one thing, or copies a teacher."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from apo_lightning.experiment import failure_files
from apo_lightning.files.jsonlines import write as write_jsonl
from apo_lightning.metrics.answer_failures import VOTE, AnswerLimits, evaluation_failures, repetition
from apo_lightning.metrics.failures import BIAS, COLLAPSE
from apo_lightning.phantom.world import FINDINGS
from apo_lightning.types import Study, Trajectory

COUNT = 60
_RNG = np.random.default_rng(0)
TRUTH = _RNG.random((COUNT, len(FINDINGS))) < 0.4
STUDIES = [
    Study(f"s{i}", f"p{i // 2}", "test", (), dict(zip(FINDINGS, map(float, row), strict=True)))
    for i, row in enumerate(TRUTH)
]


def said(present: np.ndarray) -> dict[str, str]:
    """Texts that state what a table ``[S, F]`` says."""
    names = [name.replace("_", " ") for name in FINDINGS]
    return {
        study.id: " ".join(f"There is {name}." if yes else f"No {name}." for name, yes in zip(names, row, strict=True))
        for study, row in zip(STUDIES, present, strict=True)
    }


def wrong(share: float, seed: int) -> np.ndarray:
    """The truth with a share of errors."""
    return TRUTH ^ (np.random.default_rng(seed).random(TRUTH.shape) < share)


TEACHERS = {name: said(wrong(share, seed)) for name, share, seed in (("a", 0.3, 1), ("b", 0.3, 2), ("c", 0.25, 3))}


def failures(before: np.ndarray | dict[str, str] | None, after: np.ndarray | dict[str, str]) -> list:
    given = [said(texts) if isinstance(texts, np.ndarray) else texts for texts in (before, after)]
    return evaluation_failures(given[0], given[1], TEACHERS, STUDIES, FINDINGS)


@pytest.mark.parametrize(
    ("before", "after"),
    [(0.3, 0.3), (0.3, 0.1), (0.1, 0.3), (0.5, 0.0), (0.0, 0.0)],
    ids=["as before", "better", "worse in its own way", "cured", "perfect"],
)
def test_a_student_whose_errors_are_its_own_is_healthy(before: float, after: float) -> None:
    assert failures(wrong(before, 7), wrong(after, 8)) == []


def test_a_student_that_takes_over_a_teacher_is_named_with_it() -> None:
    """It was right on all, and now says what a says: joint errors 0 before, a's 30 % after."""
    (found,) = failures(TRUTH, wrong(0.3, 1))
    assert found.signature == BIAS and found.step is None and "'a'" in found.warning
    share = (wrong(0.3, 1) != TRUTH).mean()
    assert found.value == pytest.approx(share) and f"{share:.0%}" in found.warning and "0% before" in found.warning


def test_one_that_learns_while_it_keeps_what_it_shared_is_not_blamed() -> None:
    """Of the errors that it had alone none is left: those it shares are now all, and no more than before."""
    shared = wrong(0.3, 1)
    assert failures(np.where(wrong(0.4, 9) != TRUTH, ~TRUTH, shared), shared) == []


def test_one_that_errs_more_by_itself_shares_errors_by_chance_alone() -> None:
    """Wrong on every other finding, whatever the teachers say: on some 15 % it is wrong together with each of them."""
    assert failures(TRUTH, wrong(0.5, 21)) == []


def test_a_rise_that_two_patients_make_is_no_sign() -> None:
    """Wrong as a on all findings of 4 studies of 40: a share of .1, and of two patients out of 20."""
    off = np.where(np.arange(COUNT)[:, None] < 4, ~TRUTH, TRUTH)
    assert evaluation_failures(said(TRUTH), said(off), {"a": said(off)}, STUDIES[:40], FINDINGS) == []
    spread = np.where(np.arange(COUNT)[:, None] % 10 == 0, ~TRUTH, TRUTH)  # the same share, of all patients
    many = [Study(s.id, s.id, s.split, (), s.findings) for s in STUDIES]
    assert evaluation_failures(said(TRUTH), said(spread), {"a": said(spread)}, many, FINDINGS)
    one = [Study(s.id, "p", s.split, (), s.findings) for s in STUDIES]
    assert evaluation_failures(said(TRUTH), said(spread), {"a": said(spread)}, one, FINDINGS) == []


def test_the_common_error_is_that_of_the_vote() -> None:
    """On every study two teachers of three err together, and the student as they do: with nobody so much as with the
    vote."""
    both = wrong(0.3, 5)
    parts = [np.where(np.arange(COUNT)[:, None] % 3 == k, TRUTH, both) for k in range(3)]
    voted = {name: said(part) for name, part in zip("abc", parts, strict=True)}
    (failure,) = evaluation_failures(said(TRUTH), said(both), voted, STUDIES, FINDINGS)
    assert VOTE in failure.warning


def test_few_studies_and_no_earlier_student_say_nothing_of_bias() -> None:
    few = STUDIES[:10]
    assert evaluation_failures(said(TRUTH), said(wrong(0.3, 1)), TEACHERS, few, FINDINGS) == []
    assert failures(None, wrong(0.3, 1)) == []


def test_an_unlabelled_finding_and_a_silent_teacher_count_for_nothing() -> None:
    blind = [Study(s.id, s.patient, s.split, (), dict.fromkeys(FINDINGS, np.nan)) for s in STUDIES]
    assert evaluation_failures(said(TRUTH), said(wrong(0.3, 1)), TEACHERS, blind, FINDINGS) == []
    assert evaluation_failures(said(TRUTH), said(wrong(0.3, 1)), {"a": {}}, STUDIES, FINDINGS) == []


COLLAPSED: dict[str, tuple[Callable[[str], str], str]] = {
    "nothing": (lambda text: "The image was looked at with care.", "name no finding"),
    "refusal": (lambda text: "I am unable to interpret this image.", "name no finding"),
    "repeats": (lambda text: f"{text} {text} {text}", "repeat themselves"),
    "shrinks": (lambda text: text.split(". ")[0], "shrink: "),
    "one answer": (lambda text: said(TRUTH)["s0"], "one and the same"),
}


@pytest.mark.parametrize("kind", COLLAPSED)
def test_a_collapsed_student_is_told_in_one_sentence(kind: str) -> None:
    change, words = COLLAPSED[kind]
    (found, *rest) = failures(TRUTH, {study: change(text) for study, text in said(TRUTH).items()})
    assert found.signature == COLLAPSE and words in found.warning and "optim.lr" in found.advice
    assert not [failure for failure in rest if failure.signature == COLLAPSE]


def test_one_answer_for_all_is_right_where_all_are_alike() -> None:
    alike = [Study(s.id, s.patient, s.split, (), dict.fromkeys(FINDINGS, 0.0)) for s in STUDIES]
    nothing = said(np.zeros_like(TRUTH))
    assert evaluation_failures(nothing, nothing, {}, alike, FINDINGS) == []


def test_repetition_by_hand() -> None:
    """Of the three sequences of four words, the last is the first again."""
    assert repetition("a b c d a b c d") == pytest.approx(1 - 4 / 5) and repetition("a b") == 0


def test_limits_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match="same must be in"):
        AnswerLimits(same=2)


def test_a_run_compares_each_student_with_the_one_it_started_from(tmp_path: Path) -> None:
    """base is right; spd takes over teacher a; apo, from spd, stays as it is. One seed of spd has no base beside it."""
    answers = {"base": TRUTH, "spd": wrong(0.3, 1), "apo": wrong(0.3, 1)}
    stages = {"base": {}, "spd": {"spd": ("k-spd", None)}, "apo": {"spd": ("k-spd", None), "apo": ("k-apo", "k-spd")}}
    for arm, seed in (("base", 0), ("spd", 0), ("apo", 0), ("spd", 1)):
        place = tmp_path / arm / f"seed{seed}"
        for name, (_, made_from) in stages[arm].items():
            (place / name / "student").mkdir(parents=True)
            (place / name / "config.yaml").write_text(yaml.safe_dump({"from": made_from}))
        (place / "evaluate").mkdir(parents=True)
        key = list(stages[arm].values())[-1][0] if stages[arm] else None
        (place / "evaluate/config.yaml").write_text(yaml.safe_dump({"from": key}))
        rows = [
            {"study": s.id, "patient": s.patient, "truth": dict(s.findings), "text": said(answers[arm])[s.id]}
            for s in STUDIES
        ]
        write_jsonl(place / "evaluate/predictions.jsonl", rows)
    texts = [Trajectory(study, name, text) for name, own in TEACHERS.items() for study, text in own.items()]
    thinking = SimpleNamespace(apply_policy=lambda texts, use: list(texts), as_read=str)
    cfg = SimpleNamespace(
        arms={arm: SimpleNamespace(stages=list(own)) for arm, own in stages.items()}, teachers=dict.fromkeys(TEACHERS)
    )
    last = SimpleNamespace(thinking=thinking, trajectories=texts, cfg=cfg)
    rows = json.loads(failure_files.write(cfg, tmp_path, {"apo": last}).read_text())
    assert [(row["arm"], row["seed"], row["stage"], row["signature"]) for row in rows] == [("spd", 0, "evaluate", BIAS)]
