"""results.csv to the ablation table: intervals by hand, order, bold, paired differences, and what a bad file says."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from apo_lightning.errors import ArtifactError
from apo_lightning.reports import table
from tests.helpers import fake_run


def tidy(*lines: tuple) -> pd.DataFrame:
    return pd.DataFrame(list(lines), columns=table.FIELDS)


def accuracy(arm: str, values: dict[int, float], kind: str = "arm", finding: str = "mean") -> list[tuple]:
    return [(arm, arm.upper(), kind, seed, "accuracy", finding, value) for seed, value in values.items()]


def test_interval_of_three_values() -> None:
    """1, 2, 3: mean 2, deviation 1, t(.975, 2) = 4.302652729911275, half-width 4.30265 / sqrt(3) = 2.484138."""
    mean, half = table.interval([1.0, 2.0, 3.0])
    assert mean == pytest.approx(2.0)
    assert half == pytest.approx(4.302652729911275 / math.sqrt(3))
    assert half == pytest.approx(2.484138, abs=1e-6)


def test_interval_of_two_values() -> None:
    """0 and 2: mean 1, deviation sqrt(2), so the half-width is t(.975, 1) = 12.706205 itself."""
    assert table.interval([0.0, 2.0]) == pytest.approx((1.0, 12.706204736))


@pytest.mark.parametrize(
    ("values", "mean"), [([0.5], 0.5), ([0.5, math.nan], 0.5), ([], math.nan), ([math.nan], math.nan)]
)
def test_interval_needs_two_values(values: list[float], mean: float) -> None:
    found, half = table.interval(values)
    assert math.isnan(half)
    assert found == mean or (math.isnan(found) and math.isnan(mean))


def test_wide_orders_arms_then_teachers_then_baselines() -> None:
    frame = tidy(
        *accuracy("no", {0: 0.4}, "baseline"), *accuracy("zeta", {0: 0.1, 1: 0.3}),
        *accuracy("gpt5", {0: 0.7}, "teacher"), *accuracy("alpha", {0: 0.5}),
    )  # fmt: skip
    wide = table.wide(frame)
    assert list(wide.index) == [("arm", "zeta"), ("arm", "alpha"), ("teacher", "gpt5"), ("baseline", "no")]
    assert wide.loc[("arm", "zeta"), "accuracy/mean"] == pytest.approx(0.2)
    # 0.1 and 0.3: deviation 0.1414, half-width 12.706205 * 0.1414 / sqrt(2) = 1.2706
    assert wide.loc[("arm", "zeta"), "accuracy/mean ±"] == pytest.approx(1.2706205)
    assert math.isnan(wide.loc[("arm", "alpha"), "accuracy/mean ±"])
    assert list(wide["seeds"]) == [2, 1, 1, 1]


def test_one_name_may_be_an_arm_and_a_teacher() -> None:
    wide = table.wide(tidy(*accuracy("base", {0: 0.2}), *accuracy("base", {0: 0.8}, "teacher")))
    assert list(wide["accuracy/mean"]) == [0.2, 0.8]


def test_best_is_bold_among_arms_and_ties_both() -> None:
    """c is ahead of b in the fifth digit only; a teacher of the same value is not bold."""
    frame = tidy(
        *accuracy("a", {0: 0.5}),
        *accuracy("b", {0: 0.9}),
        *accuracy("c", {0: 0.90004}),
        *accuracy("t", {0: 0.9}, "teacher"),
    )
    assert [(row.arm, row.cells[0].text, row.cells[0].bold) for row in table.rows(frame)] == [
        ("a", "0.500", False), ("b", "0.900", True), ("c", "0.900", True), ("t", "0.900", False),
    ]  # fmt: skip


def test_nothing_is_bold_where_all_arms_are_equal() -> None:
    rows = table.rows(tidy(*accuracy("a", {0: 0.5}), *accuracy("b", {0: 0.5})))
    assert not any(row.cells[0].bold for row in rows)


def test_fewer_refusals_are_better_and_log_probabilities_have_no_best() -> None:
    frame = tidy(
        ("a", "A", "arm", 0, "refusals", "mean", 0.0), ("b", "B", "arm", 0, "refusals", "mean", 0.5),
        ("a", "A", "arm", 0, "logp_teachers", "mean", -60.04), ("b", "B", "arm", 0, "logp_teachers", "mean", -31.0),
        ("a", "A", "arm", 0, "logp_teachers_before", "mean", -31.0),
    )  # fmt: skip
    first, second = table.rows(frame)
    assert [column.metric for column in table.columns(frame)] == ["refusals", "logp_teachers"]
    assert (first.cells[0].bold, second.cells[0].bold) == (True, False)
    assert (first.cells[1].value, second.cells[1].value) == ("-31.0 → -60.0", "-31.0")
    assert not (first.cells[1].bold or second.cells[1].bold)


def test_one_seed_shows_no_spread_and_a_missing_value_a_dash() -> None:
    frame = tidy(
        *accuracy("a", {0: 0.5}), *accuracy("b", {0: 0.25, 1: 0.75}), *accuracy("b", {0: 1.0}, finding="edema")
    )
    first, second = table.rows(frame)
    assert [(cell.value, cell.spread) for cell in first.cells] == [("–", ""), ("0.500", "")]
    assert second.cells[1].spread == "± 3.177"  # 12.706205 * 0.353553 / sqrt(2)


def test_differences_are_paired_by_seed() -> None:
    """b - a on the shared seeds 0, 1, 2: .1, .2, .3, so .2 with half-width 4.302653 * .1 / sqrt(3) = .248414."""
    frame = tidy(
        *accuracy("a", {0: 0.1, 1: 0.2, 2: 0.3}), *accuracy("b", {2: 0.6, 0: 0.2, 1: 0.4, 7: 1.0}),
        *accuracy("c", {1: 0.1}), *accuracy("t", {0: 0.9}, "teacher"),
    )  # fmt: skip
    found = table.differences(frame, against="a")
    assert list(found.index) == ["b", "c"]
    assert tuple(found.loc["b", ["label", "n"]]) == ("B", 3)
    assert found.loc["b", "mean"] == pytest.approx(0.2)
    assert found.loc["b", "half"] == pytest.approx(0.2484138, abs=1e-6)
    assert found.loc["c", "mean"] == pytest.approx(-0.1)
    assert math.isnan(found.loc["c", "half"])


def test_differences_against_an_arm_that_is_not_there() -> None:
    assert table.differences(tidy(*accuracy("a", {0: 0.1}))).empty


def test_reference_arm() -> None:
    assert (
        table.reference_arm(tidy(*accuracy("x", {0: 0.1}), *accuracy("spd_mt", {0: 0.1}), *accuracy("sft", {0: 0.1})))
        == "sft"
    )
    assert table.reference_arm(tidy(*accuracy("x", {0: 0.1}), *accuracy("spd_mt", {0: 0.1}))) == "spd_mt"
    assert table.reference_arm(tidy(*accuracy("x", {0: 0.1}))) == "x"
    assert table.reference_arm(tidy(*accuracy("x", {0: 0.1}, "teacher"))) is None


def test_load_reads_what_an_experiment_wrote(tmp_path: Path) -> None:
    frame = table.load(fake_run.make(tmp_path, seeds=(0, 1)))
    assert list(table.arm_labels(frame)) == list(fake_run.ARMS)
    assert table.findings(frame) == list(fake_run.FINDINGS)
    assert len(table.rows(frame)) == 8 + 7 + 3
    assert len(table.columns(frame)) == 7 + 6


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
        table.load(tmp_path)
    message = str(caught.value)
    assert says in message
    assert str(tmp_path / "results.csv") in message
    assert "Delete" in message and "run the experiment" in message


def test_missing_results_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"results\.csv does not exist\. Finish the experiment"):
        table.load(tmp_path)


def test_nan_is_a_value_that_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(HEAD + "a,A,arm,0,accuracy,mean,\na,A,arm,1,accuracy,mean,nan\n")
    assert table.load(tmp_path)["value"].isna().all()


def test_names_that_pandas_would_take_for_missing_stay_names(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(HEAD + "None,NA,arm,0,accuracy,mean,0.5\n")
    assert table.arm_labels(table.load(tmp_path)) == {"None": "NA"}
