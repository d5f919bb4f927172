"""What answers make up, leave out and take over from their teachers: by hand, and against other tools' formulas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats.contingency import odds_ratio
from torchmetrics.functional.classification import binary_matthews_corrcoef, binary_recall, binary_specificity

from apo_lightning.experiment import faults as rows
from apo_lightning.metrics import faults
from apo_lightning.metrics.bootstrap import Resampled
from apo_lightning.metrics.findings import FindingOutcomes, of_findings
from apo_lightning.metrics.inherited import InheritedOutcomes, phi, pooled
from apo_lightning.metrics.outcomes import MEAN
from apo_lightning.metrics.progression import of_progression

NAN = np.nan
TWO = ("edema", "mass")


@dataclass(frozen=True)
class Row:
    """What of `experiment.results.Measured` is looked at."""

    kind: str
    arm: str
    outcomes: list


def answered(
    labels: Sequence, answers: Sequence, refused: Sequence[int] = (), patients: Sequence[str] | None = None
) -> FindingOutcomes:
    """``refused``: places of the studies that were refused."""
    labels, answers = np.array(labels, float), np.array(answers, float)
    away = np.isin(np.arange(len(labels)), refused)
    return of_findings(labels, answers, away, TWO[: labels.shape[1]], patients)


def column(text: str) -> np.ndarray:
    """A finding's values, a letter a study: 1, 0, and a dot for what is not stated or not known."""
    return np.array([[NAN if letter == "." else float(letter)] for letter in text])


def values(one) -> dict[tuple[str, str], float]:
    return {(metric, name): value for metric, name, value in one.rows()}


def test_made_up_and_left_out_by_hand() -> None:
    """Edema: of three absent in readable answers one is said to be there, of two present one is not mentioned. Mass:
    one of two absent is made up (its unknown label adds nothing), the present one is denied. Five readable answers make
    up two and leave out two. The refusal of the last study, which is wrong on both findings, makes nothing up."""
    labels = [[0, 0], [0, 0], [1, 1], [0, NAN], [1, NAN], [0, 1]]
    answers = [[1, 1], [0, NAN], [1, 0], [0, 1], [NAN, 1], [NAN, NAN]]
    found = values(faults.of_answers(answered(labels, answers, refused=[5])))
    assert found == pytest.approx(
        {
            ("invented", "edema"): 1 / 3,
            ("invented", "mass"): 1 / 2,
            ("invented", MEAN): (1 / 3 + 1 / 2) / 2,
            ("missed", "edema"): 1 / 2,
            ("missed", "mass"): 1.0,
            ("missed", MEAN): 3 / 4,
            ("invented_per_study", MEAN): 2 / 5,
            ("missed_per_study", MEAN): 2 / 5,
        }
    )


def test_texts_that_state_nothing_are_no_readable_answers() -> None:
    labels, answers = np.array([[0.0], [1.0], [0.0]]), np.array([[NAN], [NAN], [1.0]])
    made = of_findings(labels, answers, np.zeros(3, bool), ["edema"], nothing=np.array([True, True, False]))
    found = values(faults.of_answers(made))
    assert found["invented", "edema"] == 1 and np.isnan(found["missed", "edema"])
    assert (found["invented_per_study", MEAN], found["missed_per_study", MEAN]) == (1, 0)


def test_nobody_readable_has_no_faults_and_no_study_neither() -> None:
    for labels, refused in (([[0.0], [1.0]], [0, 1]), (np.zeros((0, 1)), ())):
        one = answered(labels, labels, refused)
        assert all(np.isnan(v) for v in values(faults.of_answers(one)).values())
        assert all(np.isnan(v) for v in values(shared(table(x=one, u_a=one, vote=one))).values())


def test_a_study_without_a_label_is_none_of_those_that_are_counted() -> None:
    """Else answers to studies of unknown truth would seem to make nothing up."""
    assert values(faults.of_answers(answered(column("0."), column("11"))))["invented_per_study", MEAN] == 1


def test_shares_are_those_of_torchmetrics() -> None:
    draw = np.random.default_rng(0)
    labels, answers = draw.integers(2, size=(2, 60, 2))
    found = values(faults.of_answers(answered(labels, answers)))
    for f, name in enumerate(TWO):
        p, y = torch.tensor(answers[:, f]), torch.tensor(labels[:, f])
        assert found["invented", name] == pytest.approx(1 - float(binary_specificity(p, y)), abs=1e-6)
        assert found["missed", name] == pytest.approx(1 - float(binary_recall(p, y)), abs=1e-6)


def test_what_was_not_kept_is_said() -> None:
    known = answered([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match="said is None"):
        faults.of_answers(FindingOutcomes(known.patients, known.counts, findings=known.findings, shares=known.shares))


def test_counts_are_no_shares_to_their_intervals() -> None:
    """Nine of ten answers make up both findings, one none: 1.8 a study. Resamples reach 2, so that nothing bounds them
    but 0; with one finding they lie in [0, 1], and the interval still may leave it above. A difference may be any."""
    labels = np.zeros((10, 2))
    some = np.ones((10, 2)) * (np.arange(10) > 0)[:, None]
    for width, value in ((2, 1.8), (1, 0.9)):
        one, none = (faults.of_answers(answered(labels[:, :width], said[:, :width])) for said in (some, labels))
        table = Resampled({"some": {0: one}, "none": {0: none}}, resamples=300)
        found = table.intervals("some")["invented_per_study", MEAN]
        assert found.value == pytest.approx(value) and found.low > 0 and found.high > width
        assert table.intervals("some")["invented", MEAN].high == 1
        apart = table.differences("some", "none")["invented_per_study", MEAN]
        assert apart.value == pytest.approx(value) and apart.high > width


# --- errors in common -------------------------------------------------------------------------------------------------


def table(**named: object) -> list[Row]:
    """Rows of a table: arms by name, teachers with ``u_``, the vote; ``__`` is an @."""
    kinds = {"u": "teacher", "vote": "baseline"}
    found = []
    for name, one in named.items():
        kind = kinds.get(name.split("_")[0], "arm")
        own = {"u": name[2:], "vote": "majority_vote"}.get(name.split("_")[0], name)
        found.append(Row(kind, own.replace("__", "@"), [one]))
    return found


def shared(made: Sequence, kind: str = "arm", arm: str = "x") -> InheritedOutcomes:
    (row,) = [row for row in rows.add(made) if (row.kind, row.arm) == (kind, arm)]
    (found,) = [part for part in row.outcomes if isinstance(part, InheritedOutcomes)]
    return found


#        absent    present
TRUTH = "0000000011111111"
ONE__ = "1100000001111111"  # wrong in 0, 1, 8
U_ONE = "1000000000111111"  # wrong in 0, 8, 9
U_TWO = "0000000111111111"  # wrong in 7
VOTE_ = "0000000001111111"  # wrong in 8


def test_errors_in_common_by_hand() -> None:
    """Of 16 studies it is wrong in three, teacher a in three, both in two; b is wrong in one of its own.

    phi with a: (16 * 2 - 3 * 3) / sqrt(3 * 13 * 3 * 13) = 23 / 39; with b: (0 - 3) / sqrt(3 * 13 * 1 * 15).

    The vote is right in all but study 8. Absent: a is wrong in one of eight, and so is it; of the other seven it is
    wrong in one: 1 - 1/7, weight 1 * 7 / 8. Present: a is wrong in one, where it is right; of the other six it is wrong
    in none: 0, weight 6/7. Pooled: (6/7 * 7/8) / (7/8 + 6/7) = (3/4) / (97/56) = 42/97. Of b's one slip (absent)
    nothing is taken, and of the other seven absent two are wrong: -2/7."""
    labels = column(TRUTH)
    x, a, b, vote = (answered(labels, column(text)) for text in (ONE__, U_ONE, U_TWO, VOTE_))
    found = shared(table(x=x, u_a=a, u_b=b, vote=vote))
    with_a, with_b = 23 / 39, -3 / np.sqrt(3 * 13 * 15)
    assert values(found) == pytest.approx(
        {
            ("inherited", "a"): with_a,
            ("inherited", "b"): with_b,
            ("inherited", MEAN): (with_a + with_b) / 2,
            ("inherited_most", MEAN): with_a,
            ("repeats", "a"): 42 / 97,
            ("repeats", "b"): -2 / 7,
            ("repeats", MEAN): (42 / 97 - 2 / 7) / 2,
        }
    )
    assert found.most == "a"
    beside = shared(table(x=x, u_a=a, u_b=b, vote=vote), "teacher", "a")
    assert beside.teachers == ("b",), "a teacher has all errors in common with itself"
    assert values(beside)["inherited", MEAN] == values(beside)["inherited_most", MEAN] == pytest.approx(with_b)


def test_who_says_what_a_teacher_says_inherits_all_of_it() -> None:
    draw = np.random.default_rng(1)
    labels = draw.integers(2, size=(80, 2)).astype(float)
    a, b, c = (np.where(draw.random((80, 2)) < 0.25, 1 - labels, labels) for _ in range(3))
    said = {"u_a": a, "u_b": b, "u_c": c, "vote": (a + b + c > 1).astype(float)}
    found = values(shared(table(x=answered(labels, a), **{name: answered(labels, v) for name, v in said.items()})))
    assert found["inherited", "a"] == found["inherited_most", MEAN] == found["repeats", "a"] == pytest.approx(1)
    assert max(found["repeats", name] for name in "bc") < 0.3, "theirs are other errors"


def test_a_finding_that_is_hard_for_all_is_no_bias() -> None:
    """Independent errors, few in one finding and many in the other: over both together phi would be .3."""
    draw = np.random.default_rng(2)
    labels = draw.integers(2, size=(4000, 2)).astype(float)
    often = np.array([0.05, 0.5])
    x, a, b, c = (np.where(draw.random(labels.shape) < often, 1 - labels, labels) for _ in range(4))
    said = {"x": x, "u_a": a, "u_b": b, "u_c": c, "vote": (a + b + c > 1).astype(float)}
    found = values(shared(table(**{name: answered(labels, v) for name, v in said.items()})))
    wrong = [(said[name] != labels).ravel() for name in ("x", "u_a")]
    assert np.corrcoef(*wrong)[0, 1] > 0.2
    assert abs(found["inherited", "a"]) < 0.04 and abs(found["repeats", "a"]) < 0.04


def test_a_lean_in_common_is_inherited_but_is_no_repeated_slip() -> None:
    """A student that says yes too often, and a teacher that does so too, each for itself."""
    draw = np.random.default_rng(3)
    labels = draw.integers(2, size=(4000, 1)).astype(float)
    x, a = (np.where((draw.random(labels.shape) < 0.5) & (labels == 0), 1, labels) for _ in range(2))
    said = {"x": x, "u_a": a, "vote": labels}
    found = values(shared(table(**{name: answered(labels, v) for name, v in said.items()})))
    assert found["inherited", "a"] > 0.25 and abs(found["repeats", "a"]) < 0.05


def test_what_is_not_stated_and_what_is_refused() -> None:
    """As the table counts: not stated is absent, so that the teacher misses study 3 by silence; the student's refusal
    of study 0 is wrong and repeats nothing; study 1 the teacher refuses, so that it has no part in it."""
    labels, said = column("0011"), column("101.")
    x = answered(labels, column(".01."), refused=[0])
    a = answered(labels, said, refused=[1])
    counts = shared(table(x=x, u_a=a, vote=answered(labels, labels))).counts.sum(axis=0)
    assert counts[:4].tolist() == [3, 2, 2, 2], "heard, it is wrong (0, 3), the teacher is (0, 3), both"
    assert counts[4:8].tolist() == [1, 0, 0, 0], "absent: its slip in 0 is met by a refusal"
    assert counts[8:].tolist() == [1, 1, 1, 0], "present: its slip in 3 is repeated; in 2 both are right"


def test_a_refusal_where_the_teacher_is_right_is_no_error_of_its_own() -> None:
    """Else one that refuses often would seem to avoid the slips of its teachers."""
    labels = column("000000")
    x = answered(labels, column("100000"), refused=[3, 4, 5])
    a, vote = answered(labels, column("110000")), answered(labels, labels)
    assert values(shared(table(x=x, u_a=a, vote=vote)))["repeats", "a"] == pytest.approx(1 / 2)


def test_nobody_errs_or_all_do() -> None:
    labels = column("0011")
    right, wrong = answered(labels, labels), answered(labels, 1 - labels)
    found = values(shared(table(x=right, u_a=wrong, vote=right)))
    assert np.isnan(found["inherited", "a"]) and np.isnan(found["inherited_most", MEAN])
    assert np.isnan(found["repeats", MEAN]), "there is no study to compare with"


def test_courses_have_errors_in_common_too() -> None:
    """Three answers: to err elsewise is no repetition. The teacher slips twice, and is followed once."""
    truth = ["stable", "stable", "stable", "worsening", "improving"]
    slips = ["improving", "improving", "stable", "worsening", "improving"]
    own = ["improving", "worsening", "stable", "stable", "improving"]

    def told(courses: list[str]):
        labels, said = ([{"edema": course} for course in each] for each in (truth, courses))
        return of_progression(labels, said, ("edema",))

    found = values(shared(table(x=told(own), u_a=told(slips), vote=told(truth))))
    assert found["inherited", "a"] == pytest.approx((5 * 2 - 3 * 2) / np.sqrt(3 * 2 * 2 * 3))
    assert found["repeats", "a"] == pytest.approx(1 / 2)


def test_phi_is_that_of_torchmetrics_and_of_numpy() -> None:
    draw = np.random.default_rng(4)
    for _ in range(10):
        one, other = draw.integers(2, size=(2, 50))
        got = phi(np.array([50, one.sum(), other.sum(), (one & other).sum()], float))
        assert got == pytest.approx(np.corrcoef(one, other)[0, 1])
        assert got == pytest.approx(float(binary_matthews_corrcoef(torch.tensor(one), torch.tensor(other))), abs=1e-6)


def test_the_pooled_difference_has_the_sign_of_the_odds_ratio_and_is_the_plain_one_of_one_stratum() -> None:
    draw = np.random.default_rng(5)
    for _ in range(20):
        a, b, c, d = draw.integers(1, 20, size=4)
        got = float(pooled(np.array([[a + b, a, c + d, c]], float)))
        assert got == pytest.approx(a / (a + b) - c / (c + d))
        assert np.sign(got) == np.sign(odds_ratio([[a, b], [c, d]], kind="sample").statistic - 1)
    assert np.isnan(pooled(np.array([[0.0, 0, 5, 1]])))


def test_rows_of_other_studies_and_of_other_arms() -> None:
    """Teachers that were asked otherwise have no part; an arm with a row of its own is compared with that one."""
    labels = column(TRUTH)
    x, a, vote = (answered(labels, column(text)) for text in (ONE__, U_ONE, VOTE_))
    other = answered(labels, 1 - labels, patients=[f"other {i}" for i in range(16)])
    made = table(x=x, y=other, z=x, u_a=a, u_a__z=x, u_b=other, vote=vote)
    assert shared(made).teachers == ("a",) and values(shared(made))["inherited", "a"] < 1
    assert values(shared(made, arm="z"))["inherited", "a"] == pytest.approx(1)
    (y,) = [row for row in rows.add(made) if row.arm == "y"]
    assert not [part for part in y.outcomes if isinstance(part, InheritedOutcomes)]
    alone = list(rows.add(table(x=x, u_a=a)))
    assert not [part for row in alone for part in row.outcomes if isinstance(part, InheritedOutcomes)], "no vote"


def test_a_teacher_that_is_called_as_the_mean_is() -> None:
    labels = column(TRUTH)
    x, a, vote = (answered(labels, column(text)) for text in (ONE__, U_ONE, VOTE_))
    found = values(shared(table(x=x, u_mean=a, u_b=vote, vote=vote)))
    assert found["inherited", "mean (teacher)"] == pytest.approx(23 / 39) != found["inherited", MEAN]


def test_intervals_are_over_patients_and_may_reach_below_0() -> None:
    """Doubling every study within its patient changes neither value nor interval; a correlation is no share."""
    draw = np.random.default_rng(6)
    labels = draw.integers(2, size=(60, 2)).astype(float)
    said = {name: np.where(draw.random(labels.shape) < 0.3, 1 - labels, labels) for name in ("x", "u_a", "u_b", "vote")}
    each, who = [], [str(i) for i in range(60)]
    for times in (1, 2):
        twice = {
            name: answered(np.repeat(labels, times, 0), np.repeat(v, times, 0), (), np.repeat(who, times).tolist())
            for name, v in said.items()
        }
        each.append(Resampled({"x": {0: shared(table(**twice))}}, resamples=200).intervals("x"))
    for name, found in each[0].items():
        again = each[1][name]
        assert [found.value, found.low, found.high] == pytest.approx([again.value, again.low, again.high])
    assert each[0]["inherited", MEAN].low < 0 < each[0]["inherited", MEAN].high
