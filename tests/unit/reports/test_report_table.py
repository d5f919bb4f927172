"""results.csv to the ablation table: order, intervals, what is bold, paired differences, and what a bad file says."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from apo_lightning.errors import ArtifactError
from apo_lightning.reports import columns, measured, sentences, table
from tests.helpers import fake_run

SIZES = (2, 32, 11)


def tidy(*lines: tuple) -> pd.DataFrame:
    return pd.DataFrame(list(lines), columns=measured.FIELDS)


def found(*lines: tuple, intervals: tuple = (), differences: tuple = ()) -> measured.Results:
    """Values, and bounds as (names..., value, low, high)."""
    bounds = [
        pd.DataFrame([(*row, *SIZES) for row in rows], columns=[*index, *measured.BOUNDS]).set_index(index).sort_index()
        for rows, index in ((intervals, measured.PLACE), (differences, measured.PAIR))
    ]
    return measured.Results(tidy(*lines), *bounds)


def accuracy(arm: str, values: dict[int, float], kind: str = "arm", finding: str = "mean") -> list[tuple]:
    return [(arm, arm.upper(), kind, seed, "accuracy", finding, value) for seed, value in values.items()]


def test_wide_orders_arms_then_teachers_then_baselines() -> None:
    wide = table.wide(
        found(
            *accuracy("no", {0: 0.4}, "baseline"),
            *accuracy("zeta", {0: 0.1, 1: 0.3}),
            *accuracy("gpt5", {0: 0.7}, "teacher"),
            *accuracy("alpha", {0: 0.5}),
            intervals=(("arm", "zeta", "accuracy", "mean", 0.2, 0.05, 0.35),),
        )
    )
    assert list(wide.index) == [("arm", "zeta"), ("arm", "alpha"), ("teacher", "gpt5"), ("baseline", "no")]
    assert wide.loc[("arm", "zeta"), "accuracy/mean"] == pytest.approx(0.2)
    assert tuple(wide.loc[("arm", "zeta"), ["accuracy/mean low", "accuracy/mean high"]]) == (0.05, 0.35)
    assert math.isnan(wide.loc[("arm", "alpha"), "accuracy/mean low"])
    assert list(wide["seeds"]) == [2, 1, 1, 1]


def test_one_name_may_be_an_arm_and_a_teacher() -> None:
    wide = table.wide(found(*accuracy("base", {0: 0.2}), *accuracy("base", {0: 0.8}, "teacher")))
    assert list(wide["accuracy/mean"]) == [0.2, 0.8]


ARMS = [line for arm, value in (("a", 0.5), ("b", 0.7), ("c", 0.9)) for line in accuracy(arm, {0: value})]
THREE = (*ARMS, *accuracy("t", {0: 1.0}, "teacher"))


@pytest.mark.parametrize(
    ("b_to_c", "bold"),
    [((-0.3, -0.01), ["c"]), ((-0.3, 0.0), []), ((-0.3, 0.1), []), ((math.nan, math.nan), [])],
)
def test_bold_is_only_what_is_apart_from_every_other_arm(b_to_c: tuple[float, float], bold: list[str]) -> None:
    """c is ahead of a for sure; b minus c is an interval that excludes 0, or touches it, or holds it, or is none."""
    rows = table.rows(
        found(
            *THREE,
            differences=(
                ("c", "a", "accuracy", "mean", 0.4, 0.2, 0.6),
                ("b", "c", "accuracy", "mean", -0.2, *b_to_c),
                ("b", "a", "accuracy", "mean", 0.2, 0.1, 0.3),
            ),
        )
    )
    assert [row.arm for row in rows if row.cells[0].bold] == bold


def test_nothing_is_bold_without_differences_or_for_a_single_arm() -> None:
    assert not any(row.cells[0].bold for row in table.rows(found(*THREE)))
    assert not any(row.cells[0].bold for row in table.rows(found(*accuracy("a", {0: 0.5}))))


def test_fewer_refusals_are_better_and_log_probabilities_have_no_best() -> None:
    results = found(
        ("a", "A", "arm", 0, "refusals", "mean", 0.0),
        ("b", "B", "arm", 0, "refusals", "mean", 0.5),
        ("a", "A", "arm", 0, "logp_teachers", "mean", -60.04),
        ("b", "B", "arm", 0, "logp_teachers", "mean", -31.0),
        ("a", "A", "arm", 0, "logp_teachers_before", "mean", -31.0),
        differences=(("b", "a", "refusals", "mean", 0.5, 0.4, 0.6), ("b", "a", "logp_teachers", "mean", 29, 28, 30)),
    )
    first, second = table.rows(results)
    assert [column.metric for column in columns.columns(results.values)] == ["refusals", "logp_teachers"]
    assert (first.cells[0].bold, second.cells[0].bold) == (True, False)
    assert (first.cells[1].value, second.cells[1].value) == ("-31.0 → -60.0", "-31.0")
    assert not (first.cells[1].bold or second.cells[1].bold)


def test_a_cell_shows_its_interval_and_a_missing_value_a_dash() -> None:
    first, second = table.rows(
        found(
            *accuracy("a", {0: 0.5}),
            *accuracy("b", {0: 0.25, 1: 0.75}),
            *accuracy("b", {0: 1.0}, finding="edema"),
            intervals=(
                ("arm", "a", "accuracy", "mean", 0.5, 0.4, 0.61),
                ("arm", "b", "accuracy", "edema", 1, math.nan, math.nan),
            ),
        )
    )
    assert [(cell.value, cell.spread) for cell in first.cells] == [("0.500", "[0.400, 0.610]"), ("–", "")]
    assert [(cell.value, cell.spread) for cell in second.cells] == [("0.500", ""), ("1.000", "")]


def test_macro_f1_is_named_and_so_is_what_an_earlier_version_called_so() -> None:
    titles = {
        c.metric: c.title
        for c in columns.columns(
            tidy(("a", "A", "arm", 0, "positive_f1", "mean", 0.5), ("a", "A", "arm", 0, "f1", "mean", 0.5))
        )
    }
    assert titles == {"positive_f1": "macro-F1", "f1": "F1, both classes"}


def test_findings_of_one_class_are_known() -> None:
    """Measured on edema and pneumonia, but pneumonia has one class; nobody labels effusion."""
    lines = [
        ("a", "A", "arm", 0, metric, name, value)
        for metric, name, value in (
            ("accuracy", "edema", 0.5),
            ("accuracy", "pneumonia", 0.5),
            ("accuracy", "effusion", math.nan),
            ("accuracy", "mean", 0.5),
            ("balanced_accuracy", "edema", 0.5),
            ("balanced_accuracy", "pneumonia", math.nan),
            ("balanced_accuracy", "effusion", math.nan),
            ("balanced_accuracy", "mean", 0.5),
        )
    ]
    assert table.one_class(tidy(*lines)) == ["pneumonia"]
    assert table.one_class(tidy(*accuracy("a", {0: 0.5}))) == []


def test_courses_have_a_column_each_where_presence_is_not_measured() -> None:
    metric = "progression_accuracy"
    frame = tidy(("a", "A", "arm", 0, metric, "edema", 0.5), ("a", "A", "arm", 0, metric, "mean", 0.5))
    assert [column.title for column in columns.columns(frame)] == ["progression", "edema"]
    assert list(table.differences(found(*map(tuple, frame.to_numpy())), against="a").index) == []


def test_differences_are_those_of_the_file_turned_as_asked() -> None:
    lines = (*accuracy("a", {0: 0.1}), *accuracy("b", {0: 0.3}), *accuracy("c", {0: 0.2}))
    pairs = (("b", "a", "accuracy", "mean", 0.2, 0.1, 0.4), ("c", "b", "accuracy", "mean", -0.1, -0.3, 0.2))
    rows = table.differences(found(*lines, differences=pairs), against="b")
    assert list(rows.index) == ["a", "c"]
    assert tuple(rows.loc["a", ["mean", "low", "high", "n"]]) == pytest.approx((-0.2, -0.4, -0.1, 2))
    assert tuple(rows.loc["c", ["mean", "low", "high"]]) == pytest.approx((-0.1, -0.3, 0.2))


def test_differences_of_an_older_folder_are_paired_by_seed_and_have_no_interval() -> None:
    """b - a on the shared seeds 0, 1, 2: .1, .2, .3."""
    lines = (
        *accuracy("a", {0: 0.1, 1: 0.2, 2: 0.3}),
        *accuracy("b", {2: 0.6, 0: 0.2, 1: 0.4, 7: 1.0}),
        *accuracy("c", {1: 0.1}),
        *accuracy("t", {0: 0.9}, "teacher"),
        ("d", "D", "arm", 0, "refusals", "mean", 0.0),
    )
    rows = table.differences(found(*lines), against="a")
    assert list(rows.index) == ["b", "c"]
    assert tuple(rows.loc["b", ["label", "n"]]) == ("B", 3)
    assert list(rows["mean"]) == pytest.approx([0.2, -0.1]) and rows[["low", "high"]].isna().all(axis=None)


def test_differences_against_an_arm_that_is_not_there() -> None:
    assert table.differences(found(*accuracy("a", {0: 0.1}))).empty


def test_reference_arm() -> None:
    assert (
        table.reference_arm(tidy(*accuracy("x", {0: 0.1}), *accuracy("spd_mt", {0: 0.1}), *accuracy("sft", {0: 0.1})))
        == "sft"
    )
    assert table.reference_arm(tidy(*accuracy("x", {0: 0.1}), *accuracy("spd_mt", {0: 0.1}))) == "spd_mt"
    assert table.reference_arm(tidy(*accuracy("x", {0: 0.1}))) == "x"
    assert table.reference_arm(tidy(*accuracy("x", {0: 0.1}, "teacher"))) is None


def test_load_reads_what_an_experiment_wrote(tmp_path: Path) -> None:
    results = measured.load(fake_run.make(tmp_path, seeds=(0, 1)))
    frame = results.values
    assert list(table.arm_labels(frame)) == list(fake_run.ARMS)
    assert columns.findings(frame) == list(fake_run.FINDINGS)
    rows = table.rows(results)
    assert len(rows) == 8 + 7 + 3
    assert len(columns.columns(frame)) == 7 + 6
    assert all(cell.spread for row in rows for cell in row.cells if cell.text != "–")


def test_a_folder_without_intervals_has_a_table_without_them(tmp_path: Path) -> None:
    run = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,))
    for name in ("intervals.csv", "differences.csv"):
        (run / name).unlink()
    assert not any(cell.spread or cell.bold for row in table.rows(measured.load(run)) for cell in row.cells)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not readable as CSV"),
        ("kind,arm\n", "lacks the columns metric, finding, value, low, high, seeds, studies, patients"),
        ("arm,a,accuracy,mean,.5,.6,.4,1,9,9\n", "line 2 has a lower bound above the upper one"),
        ("arm,a,accuracy,mean,.5,x,.4,1,9,9\n", "line 2 has a value that is not a number"),
        ("arm,a,accuracy,mean,.5,.4,.6,1,9,9\n" * 2, "line 3 has the names of an earlier row"),
    ],
)
def test_corrupt_intervals_say_file_and_what_to_do(tmp_path: Path, content: str, says: str) -> None:
    run = fake_run.make(tmp_path, arms=("base",), seeds=(0,))
    head = ",".join([*measured.PLACE, *measured.BOUNDS]) + "\n"
    (run / "intervals.csv").write_text(head + content if content.startswith("arm,") else content)
    with pytest.raises(ArtifactError, match=r"intervals\.csv.*Delete .*intervals\.csv") as caught:
        measured.load(run)
    assert says in str(caught.value)


HEAD = "arm,label,kind,seed,metric,finding,value\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not readable as CSV"),
        (HEAD, "no rows"),
        ("arm,label\na,A\n", "lacks the columns kind, seed, metric, finding, value"),
        (HEAD + 'a,A,arm,0,accuracy,mean,0.5\na,"A', "not readable as CSV"),
        (
            HEAD + "a,A,arm,0,accuracy,mean,0.5\na,A,arm,1,accuracy,mean,half\n",
            "line 3 has a value that is not a number",
        ),
        (HEAD + "a,A,arm,0,accuracy,mean,1.5\n", "line 2 has a share outside [0, 1]"),
        (HEAD + "a,A,pupil,0,accuracy,mean,0.5\n", "line 2 has a kind that is none of arm, teacher, baseline"),
        (HEAD + "a,A,arm,x,accuracy,mean,0.5\n", "line 2 has a seed"),
        (HEAD + ",A,arm,0,accuracy,mean,0.5\n", "line 2 has an empty name"),
        (HEAD + "a,A,arm,0,accuracy,mean,0.5\n" * 2, "line 3 has the arm, seed, metric and finding of an earlier row"),
    ],
)
def test_corrupt_results_say_file_and_what_to_do(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "results.csv").write_text(content)
    with pytest.raises(ArtifactError) as caught:
        measured.load(tmp_path)
    message = str(caught.value)
    assert says in message
    assert str(tmp_path / "results.csv") in message
    assert "Delete" in message and "run the experiment" in message


def test_missing_results_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"results\.csv does not exist\. Finish the experiment"):
        measured.load(tmp_path)


def test_nan_is_a_value_that_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(HEAD + "a,A,arm,0,accuracy,mean,\na,A,arm,1,accuracy,mean,nan\n")
    assert measured.load(tmp_path).values["value"].isna().all()


def test_names_that_pandas_would_take_for_missing_stay_names(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(HEAD + "None,NA,arm,0,accuracy,mean,0.5\n")
    assert table.arm_labels(measured.load(tmp_path).values) == {"None": "NA"}


def test_rows_with_many_texts_cut_off_are_known() -> None:
    lines = [
        (arm, arm.upper(), kind, seed, "cut", "mean", share)
        for arm, kind, seed, share in (
            ("a", "arm", 0, 0.2),
            ("a", "arm", 1, 0.0),
            ("b", "arm", 0, 0.05),
            ("t", "baseline", 0, 1.0),
        )
    ]
    assert table.cut_off(tidy(*lines), 0.05) == [("A", pytest.approx(0.1)), ("T", 1.0)]
    said = sentences.cut_off(tidy(*lines), 0.05)[0]
    assert "more than 5% of the texts ran into max_new_tokens" in said and "A 10%, T 100%" in said
    assert sentences.cut_off(tidy(*lines), 1.0) == sentences.cut_off(tidy(*lines), None) == []
