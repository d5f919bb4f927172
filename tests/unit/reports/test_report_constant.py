"""Arms and t+ that answer like a constant: what a report says of them before it says who is best."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from apo_lightning import reports
from apo_lightning.console import Console
from apo_lightning.reports import constant, headline, measured, sentences
from tests.helpers import fake_run

FINDINGS = ("edema", "effusion")
NO = {"edema": (0.9, 0.0), "effusion": (0.7, 0.0)}
YES = {"edema": (0.1, 0.18), "effusion": (0.3, 0.46)}
"""Finding to accuracy and F1 of the class present: of 10 studies 1 and 3 are present."""
T_PLUS = ("preferred", "t+ (reads the teachers)")


def _rows(arm: str, label: str, kind: str, said: dict[str, tuple[float, float]], seed: int = 0) -> list[list]:
    each = [
        [arm, label, kind, seed, metric, finding, value]
        for finding, values in said.items()
        for metric, value in zip(("accuracy", "positive_f1"), values, strict=True)
    ]
    means = {metric: sum(own[i] for own in said.values()) / len(said) for i, metric in enumerate(constant.COUNTS)}
    balanced = 0.5 if said in (NO, YES) else 0.6
    return [
        *each,
        *([arm, label, kind, seed, m, "mean", v] for m, v in (*means.items(), ("balanced_accuracy", balanced))),
    ]


def _frame(*rows: list[list]) -> pd.DataFrame:
    made = [*_rows("always_no", "Always no", "baseline", NO), *_rows("always_yes", "Always yes", "baseline", YES)]
    return pd.DataFrame([*made, *(row for own in rows for row in own)], columns=measured.FIELDS)


SEES = {"edema": (0.9, 0.0), "effusion": (0.6, 0.5)}


@pytest.mark.parametrize(
    ("said", "like"), [(NO, "Always no"), (YES, "Always yes"), (SEES, ""), ({"edema": NO["edema"]}, "")]
)
def test_a_row_is_a_constant_where_accuracy_and_f1_of_every_finding_are(said: dict, like: str) -> None:
    found = constant.rows(_frame(_rows("sft", "SFT", "arm", said)))
    assert found == ({("arm", "sft"): ("SFT", like)} if like else {})


def test_an_equal_accuracy_alone_is_no_constant() -> None:
    """6 of 7 absent and 1 of 3 present are right: 7 of 10, as of 'Always no', but it told present from absent."""
    assert constant.rows(_frame(_rows("sft", "SFT", "arm", NO | {"effusion": (0.7, 0.4)}))) == {}


def test_every_seed_must_be_one() -> None:
    both = _frame(_rows("sft", "SFT", "arm", NO), _rows("sft", "SFT", "arm", SEES, seed=1))
    assert constant.rows(both) == {}


def test_a_finding_of_one_class_has_no_f1_and_hides_nothing() -> None:
    frame = _frame(_rows("sft", "SFT", "arm", NO))
    frame.loc[(frame["metric"] == "positive_f1") & (frame["finding"] == "edema"), "value"] = float("nan")
    assert ("arm", "sft") in constant.rows(frame)


def _run(tmp_path: Path, **said: dict) -> Path:
    run = fake_run.make(tmp_path, arms=("spd_mt", "sft"), seeds=(0,), findings=FINDINGS)
    labels = {"spd_mt": "SPD+MT", "sft": "SFT"}
    arms = [_rows(arm, labels[arm], "arm", own) for arm, own in said.items() if arm in labels]
    other = [_rows(*T_PLUS, "baseline", said["preferred"])] if "preferred" in said else []
    _frame(*arms, *other).to_csv(run / "results.csv", index=False)
    for name in ("intervals.csv", "differences.csv"):
        (run / name).unlink(missing_ok=True)
    return run


def _printed(run: Path) -> str:
    console = Console(file=io.StringIO(), width=1000)
    reports.print_table(run, console)
    return console.file.getvalue()


def test_the_first_sentences_and_warnings_of_every_form_name_constant_arms_and_t_plus(tmp_path: Path) -> None:
    run = _run(tmp_path, spd_mt=NO, sft=SEES, preferred=NO)
    told = (
        "SPD+MT; t+ (reads the teachers) answer exactly like 'Always no', whatever the image shows: nothing was "
        "learned from the images."
    )
    reports.write(run)
    first = (run / "report.md").read_text("utf-8").split("## Results")[1].strip().split("\n")[0]
    assert first.startswith(
        f"**Balanced accuracy: SFT is highest (0.600), but not told apart from any other arm. {told}"
    )
    page = (run / "report.html").read_text("utf-8").replace("&#39;", "'")
    assert page.count(told) == 2 and constant.TEXTS in page, "the verdict, and a note above it"
    assert told in _printed(run)


def test_nobody_is_highest_where_every_arm_is_a_constant(tmp_path: Path) -> None:
    run = _run(tmp_path, spd_mt=NO, sft=NO)
    assert sentences.verdict(measured.load(run)) == ""
    assert constant.TEXTS not in _printed(run) and "SPD+MT; SFT answer exactly like" in _printed(run)


def test_nothing_is_said_where_arms_look_at_images(tmp_path: Path) -> None:
    run = _run(tmp_path, spd_mt=SEES, sft=SEES)
    assert "answer exactly like" not in _printed(run)


def test_the_headline_is_balanced_where_that_was_measured() -> None:
    frame = _frame(_rows("sft", "SFT", "arm", SEES))
    assert headline.column(frame).metric == "balanced_accuracy"
    assert headline.column(frame[frame["metric"] != "balanced_accuracy"]).metric == "accuracy"
