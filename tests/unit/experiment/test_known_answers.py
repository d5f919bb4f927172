"""Made-up students whose every column is worked out by hand: texts -> reader -> outcomes -> results.csv -> the cells.

A column that the table gains has to be worked out here too (`test_every_column_is_worked_out`); one that another part
of an evaluation fills (likelihoods, votes, report texts) gets its own dictionary beside TEXTS and PRESENCE.
"""

from __future__ import annotations

import json
from fractions import Fraction as F
from math import sqrt
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from apo_lightning import config
from apo_lightning.experiment import results
from apo_lightning.metrics.answers import prediction_row
from apo_lightning.reports import measured, table
from apo_lightning.text.thinking import ThinkingPolicy
from apo_lightning.types import Study, Trajectory

ROOT = Path(__file__).resolve().parents[3]
NAN = float("nan")
FINDINGS = ("edema", "pneumothorax", "cardiomegaly")
LABELS = {
    "s1": (1, 1, 1),
    "s2": (1, 0, 1),
    "s3": (1, 0, 1),
    "s4": (0, 0, 1),
    "s5": (0, 0, NAN),
    "s6": (0, 0, 0),
    "s7": (0, NAN, NAN),
    "s8": (0, NAN, NAN),
}
"""Present: edema in 3 of 8, pneumothorax in 1 of 6, cardiomegaly in 4 of 5."""
PATIENTS = {"s1": "p1", "s2": "p1"}
"""The others are patients of their own."""
TRAIN = {"t1": (1, 0, 1), "t2": (1, 0, 1), "t3": (0, 1, 0), "t4": (NAN, 0, 0)}
"""Edema in 2 of 3, so present; pneumothorax in 1 of 4, so absent; cardiomegaly in 2 of 4, a tie, so absent."""
WRONG = {"s1": {"edema"}, "s2": {"pneumothorax", "cardiomegaly"}, "s4": {"edema"}, "s6": {"cardiomegaly"}}
"""Where the teacher "eager" errs: edema missed in s1 and seen in s4, pneumothorax seen in s2, cardiomegaly missed in s2
and seen in s6. It refuses s8."""


def say(answers: dict[str, bool]) -> str:
    """One sentence a finding."""
    return " ".join(f"There is {name}." if present else f"There is no {name}." for name, present in answers.items())


def known(study: str) -> dict[str, bool]:
    return {name: label == 1 for name, label in zip(FINDINGS, LABELS[study], strict=True) if label == label}


def eager(study: str) -> str:
    if study == "s8":
        return "I am sorry, but I cannot interpret medical images."
    return say({name: present ^ (name in WRONG.get(study, ())) for name, present in known(study).items()})


SPOKEN = {
    "truth": lambda study: say(known(study)),
    "yes": lambda study: say(dict.fromkeys(FINDINGS, True)),
    "no": lambda study: say(dict.fromkeys(FINDINGS, False)),
    "copies": eager,
    "refuses": lambda study: "I am sorry, but I cannot interpret medical images.",
    "normal": lambda study: "This is a normal chest radiograph.",
    "babbles": lambda study: "The image is well exposed.",
}
"""What each student writes. It is also what teachers say: "eager", and two who always say yes and no."""
TEACHERS = {"eager": eager, "sure": SPOKEN["yes"], "calm": SPOKEN["no"]}

PRESENCE = {
    # right of the labelled; (sensitivity + specificity) / 2; 2 tp / (2 tp + fp + fn): edema, pneumothorax, cardiomegaly
    "truth": ((F(8, 8), F(6, 6), F(5, 5)), (F(1), F(1), F(1)), (F(1), F(1), F(1))),
    "yes": ((F(3, 8), F(1, 6), F(4, 5)), (F(1, 2),) * 3, (F(6, 6 + 5), F(2, 2 + 5), F(8, 8 + 1))),
    "no": ((F(5, 8), F(5, 6), F(1, 5)), (F(1, 2),) * 3, (F(0),) * 3),
    # edema: tp s2 s3, fn s1, fp s4 and s8 (refused), tn s5 s6 s7. pneumothorax: tp s1, fp s2, tn s3 to s6.
    # cardiomegaly: tp s1 s3 s4, fn s2, fp s6
    "eager": (
        (F(5, 8), F(5, 6), F(3, 5)),
        ((F(2, 3) + F(3, 5)) / 2, (F(1, 1) + F(4, 5)) / 2, (F(3, 4) + F(0, 1)) / 2),
        (F(4, 4 + 2 + 1), F(2, 2 + 1), F(6, 6 + 1 + 1)),
    ),
    # a refusal is wrong on every label, and so is a text that states nothing
    "refuses": ((F(0),) * 3, (F(0),) * 3, (F(0),) * 3),
    # eager decides, sure and calm cancel out; where it refuses, s8, they tie: absent, which is right
    "majority_vote": (
        (F(6, 8), F(5, 6), F(3, 5)),
        ((F(2, 3) + F(4, 5)) / 2, (F(1, 1) + F(4, 5)) / 2, (F(3, 4) + F(0, 1)) / 2),
        (F(4, 4 + 1 + 1), F(2, 2 + 1), F(6, 6 + 1 + 1)),
    ),
    # yes, no, no
    "prevalence": ((F(3, 8), F(5, 6), F(1, 5)), (F(1, 2),) * 3, (F(6, 6 + 5), F(0), F(0))),
}
ALIKE = {
    "copies": "eager",
    "normal": "no",
    "babbles": "refuses",
    "sure": "yes",
    "calm": "no",
    "always_yes": "yes",
    "always_no": "no",
}
"""Who answers as another does, for other words or none."""
TEXTS = {
    # refusals, states nothing, normal: shares of the eight texts
    "copies": (F(1, 8), F(0), F(0)),
    "eager": (F(1, 8), F(0), F(0)),
    "refuses": (F(1), F(0), F(0)),
    "normal": (F(0), F(0), F(1)),
    "babbles": (F(0), F(1), F(0)),
}
"""The other texts: none of either."""
BASELINES = ("majority_vote", "always_yes", "always_no", "prevalence")
"""Decisions without a text, so there is nothing normal and nothing that states nothing in them."""
FAULTS = {
    # made up, of the absent; left out, of the present; of edema, pneumothorax, cardiomegaly; and how many a study
    "truth": ((F(0),) * 3, (F(0),) * 3, F(0), F(0)),
    "yes": ((F(1),) * 3, (F(0),) * 3, F(5 + 5 + 1, 8), F(0)),
    "no": ((F(0),) * 3, (F(1),) * 3, F(0), F(3 + 1 + 4, 8)),
    # the seven answers that can be read: of edema s4 of s4 to s7, and s1 of s1 to s3; and so on
    "eager": ((F(1, 4), F(1, 5), F(1, 1)), (F(1, 3), F(0), F(1, 4)), F(3, 7), F(2, 7)),
    "majority_vote": ((F(1, 5), F(1, 5), F(1, 1)), (F(1, 3), F(0), F(1, 4)), F(3, 8), F(2, 8)),
    "prevalence": ((F(1), F(0), F(0)), (F(0), F(1), F(1)), F(5, 8), F(1 + 4, 8)),
}
"""Those who refuse, or say nothing, have none."""
YES_EAGER = (-1 / sqrt(120) + 1 / 5 + 3 / sqrt(24)) / 3
"""Correlation of the errors of "yes" and "eager", (cases * both - one * other) / root: edema, where eager speaks of
seven, (7 * 1 - 4 * 2) / sqrt(4 * 3 * 2 * 5); pneumothorax (6 - 5) / sqrt(5 * 1 * 1 * 5); cardiomegaly (5 - 2) /
sqrt(1 * 4 * 2 * 3). "no" is wrong where "yes" is right: the same with a minus, and -1 between the two."""
EAGER_SURE = ((8 * 2 - 3 * 5) / sqrt(3 * 5 * 5 * 3) + 1 / 5 + 3 / sqrt(24)) / 3
"""The same of "eager" as a row, whose refusal of s8 is an error, beside "sure"."""
INHERITED = {
    # with eager, sure, calm: their mean, the largest, and whose that is
    "yes": (YES_EAGER / 3, 1, "sure"),
    "no": (-YES_EAGER / 3, 1, "calm"),
    "copies": (1 / 3, 1, "eager"),
    "majority_vote": (1 / 3, 1, "eager"),
    # beside the two others
    "eager": (0, EAGER_SURE, "sure"),
    "sure": ((YES_EAGER - 1) / 2, YES_EAGER, "eager"),
    "calm": ((-YES_EAGER - 1) / 2, -YES_EAGER, "eager"),
    # as yes in edema, as no in the others
    "prevalence": ((-1 / sqrt(120) - 1 / 5 - 3 / sqrt(24)) / 3 / 3, 1 / 3, "calm"),
}
"""The truth is never wrong and a refusal always: nothing can be correlated with them."""
ROWS = [("arm", name) for name in SPOKEN] + [("teacher", name) for name in TEACHERS]
ROWS += [("baseline", name) for name in BASELINES]


def presence(name: str) -> dict[str, F]:
    accuracy, balanced, f1 = PRESENCE[ALIKE.get(name, name)]
    each = {f"accuracy/{finding}": value for finding, value in zip(FINDINGS, accuracy, strict=True)}
    means = {"accuracy": accuracy, "balanced_accuracy": balanced, "positive_f1": f1}
    return each | {f"{metric}/mean": sum(values, F(0)) / 3 for metric, values in means.items()}


def texts(name: str) -> dict[str, F | None]:
    shares = TEXTS.get(name, (F(0),) * 3)
    if name in BASELINES:
        shares = (F(0), None, None)
    return dict(zip(("refusals/mean", "states_nothing/mean", "normal/mean"), shares, strict=True))


def faults(name: str) -> dict[str, F | None]:
    found = FAULTS.get(ALIKE.get(name, name))
    invented, missed, *_ = found or ((), (), None, None)
    means = {key: sum(own, F(0)) / 3 if own else None for key, own in (("invented", invented), ("missed", missed))}
    return {f"{key}/mean": value for key, value in means.items()}


def counted(name: str) -> dict[str, str]:
    """Two digits of a number of findings."""
    *_, invented, missed = FAULTS.get(ALIKE.get(name, name)) or (None, None)
    made = {"invented_per_study/mean": invented, "missed_per_study/mean": missed}
    return {key: "–" if value is None else f"{float(value):.2f}" for key, value in made.items()}


def inherited(name: str) -> dict[str, float | str | None]:
    """Of slips nothing can be said: sure and calm always err on one label and never on the other, eager where the vote
    does."""
    mean, most, whose = INHERITED.get(name) or INHERITED.get(ALIKE.get(name, name)) or (None, None, "")
    return {
        "inherited/mean": mean,
        "inherited_most/mean": None if most is None else f"{most:.3f} ({whose})",
        "repeats/mean": None,
    }


def likelihood(name: str) -> dict[str, F | None]:
    """Only the shares of training are a score here: 2/3, 1/4, 1/2, the same for every study. So AUROC is a half,
    average precision the share of positives among the tested (3/8, 1/6, 4/5), and ECE how far these lie apart. Brier:
    3 of 8 are off by 1/3 and 5 by 2/3; 1 of 6 by 3/4 and 5 by 1/4; all by 1/2."""
    names = ("accuracy", "balanced_accuracy", "positive_f1", "auroc", "average_precision", "ece", "brier")
    if name != "prevalence":
        return dict.fromkeys((f"likelihood_{metric}/mean" for metric in names), None)
    decided = [presence("prevalence")[f"{metric}/mean"] for metric in names[:3]]
    precision = (F(3, 8) + F(1, 6) + F(4, 5)) / 3
    apart = (F(2, 3) - F(3, 8) + F(1, 4) - F(1, 6) + F(4, 5) - F(1, 2)) / 3
    square = ((3 * F(1, 9) + 5 * F(4, 9)) / 8 + (F(9, 16) + 5 * F(1, 16)) / 6 + F(1, 4)) / 3
    values = (*decided, F(1, 2), precision, apart, square)
    return {f"likelihood_{metric}/mean": value for metric, value in zip(names, values, strict=True)}


def expected(name: str) -> dict[str, F | float | str | None]:
    """Column to its value (a text where it is not printed with three digits), None where the cell is empty. Further
    parts of the table are laid over this."""
    return presence(name) | texts(name) | faults(name) | counted(name) | inherited(name) | likelihood(name)


def cell(value: F | float | str | None) -> str:
    return value if isinstance(value, str) else "–" if value is None else f"{float(value):.3f}"


def studies(labels: dict[str, tuple[float, ...]], split: str) -> list[Study]:
    return [
        Study(name, PATIENTS.get(name, name), split, (), dict(zip(FINDINGS, map(float, row), strict=True)))
        for name, row in labels.items()
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with one evaluation an arm, its tables written from it."""
    folder = tmp_path_factory.mktemp("known")
    tested = studies(LABELS, "test")
    for arm, words in SPOKEN.items():
        stage = folder / arm / "seed0" / "evaluate"
        stage.mkdir(parents=True)
        lines = [json.dumps(prediction_row(study, words(study.id), FINDINGS, str)) for study in tested]
        (stage / "predictions.jsonl").write_text("\n".join(lines) + "\n")
        (stage / "scores.json").write_text("[]")
    cfg = config.resolve_arm(config.load(ROOT / "experiments" / "smoke.yaml"), "base")
    cfg.teachers = {name: {"kind": "simulated"} for name in TEACHERS}
    cfg.arms = {arm: SimpleNamespace(label=f"says {arm}", stages=[]) for arm in SPOKEN}
    split = {"train": studies(TRAIN, "train"), "test": tested}
    spoken = [Trajectory(study, name, words(study)) for name, words in TEACHERS.items() for study in LABELS]
    data = SimpleNamespace(studies=lambda name: split[name])
    own = {"done": {}, "scored": FINDINGS, "thinking": ThinkingPolicy()}
    last = SimpleNamespace(cfg=cfg, data=data, trained=data, trajectories=spoken, **own)
    results.write(cfg, folder, dict.fromkeys(SPOKEN, last))
    return folder


@pytest.fixture(scope="module")
def printed(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Row to the text of each of its cells."""
    found = measured.load(folder)
    keys = [column.key for column in table.columns(found.values)]
    return {
        (row.kind, row.arm): dict(zip(keys, [cell.text for cell in row.cells], strict=True))
        for row in table.rows(found)
    }


def test_every_column_is_worked_out(printed: dict) -> None:
    assert list(printed) == ROWS
    assert set(next(iter(printed.values()))) == set(expected("truth"))


@pytest.mark.parametrize(("kind", "name"), ROWS, ids=lambda value: value)
def test_every_cell_is_the_one_worked_out_by_hand(printed: dict, kind: str, name: str) -> None:
    assert printed[kind, name] == {key: cell(value) for key, value in expected(name).items()}


@pytest.mark.parametrize(("kind", "name"), ROWS, ids=lambda value: value)
def test_every_finding_of_results_csv_is_the_one_worked_out_by_hand(folder: Path, kind: str, name: str) -> None:
    frame = pd.read_csv(folder / "results.csv")
    found = frame[(frame.kind == kind) & (frame.arm == name)].set_index(["metric", "finding"]).value
    columns = zip(("accuracy", "balanced_accuracy", "positive_f1"), PRESENCE[ALIKE.get(name, name)], strict=True)
    for metric, values in columns:
        got = [found[metric, finding] for finding in FINDINGS]
        assert got == pytest.approx([float(value) for value in values])


def test_nobody_who_tells_less_than_the_truth_passes_for_it(folder: Path) -> None:
    """Seven of eight studies hold an error of "yes": s2 to s8, of seven patients (s1 is of the same as s2), all for the
    truth: of 2^7 swaps two are as far. Against itself in other words ("no" and "normal") nobody differs."""
    frame = pd.read_csv(folder / "tests.csv").set_index(["arm", "against", "finding"])
    yes = frame.loc[("yes", "truth", "mean")]
    assert (yes.n, yes.p) == (7, 2 / 2**7)
    assert yes.statistic == pytest.approx(float(sum(PRESENCE["yes"][0], F(0)) / 3 - 1))
    edema = frame.loc[("yes", "truth", "edema")]
    assert (edema.n, edema.statistic, edema.p) == (5, 0, 2 / 2**5)
    same = frame.loc[("normal", "no", "mean")]
    assert (same.n, same.p, same.p_holm) == (0, 1, 1)
