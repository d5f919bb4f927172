"""What a report shows of what is made up, left out and taken over; and of runs that were measured without it."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from apo_lightning import reports
from apo_lightning.reports import columns, groups, measured, table, terminal
from tests.helpers import fake_run

TEACHERS = {"gpt5": (0.1, 0.3), "gemini_pro": (0.4, 0.2)}
"""Correlation of errors in seeds 0 and 1: the mean is largest for gemini_pro."""


def run(root: Path) -> Path:
    """Two arms with two seeds, whose results also hold faults."""
    folder = fake_run.make(root, arms=("spd_mt", "sft"), seeds=(0, 1))
    lines = []
    for arm in ("spd_mt", "sft"):
        for seed in (0, 1):
            row = [arm, fake_run.ARMS[arm][0], "arm", seed]
            lines += [[*row, metric, name, 0.25] for metric in ("invented", "missed") for name in ("edema", "mean")]
            lines += [[*row, "invented_per_study", "mean", 1.5], [*row, "missed_per_study", "mean", 2.0]]
            each = {name: own[seed] for name, own in TEACHERS.items()}
            lines += [[*row, "inherited", name, value] for name, value in each.items()]
            lines += [[*row, "repeats", name, -0.05] for name in (*TEACHERS, "mean")]
            lines += [[*row, "inherited", "mean", sum(each.values()) / 2]]
            lines += [[*row, "inherited_most", "mean", max(each.values())]]
    with (folder / "results.csv").open("a", newline="") as file:
        csv.writer(file).writerows(lines)
    return folder


def shown(folder: Path) -> dict[str, groups.Group]:
    return {group.name: group for group in groups.groups(measured.load(folder))}


def test_one_small_table_beside_the_others(tmp_path: Path) -> None:
    found = shown(run(tmp_path))
    assert list(found)[:3] == ["text", "findings", "faults"], "the first table stays as it was"
    assert not any(column.metric == "invented" for column in found["text"].columns)
    ((_, rows),) = found["faults"].sections
    heads = ["invented", "invented a study", "missed", "missed a study", "inherited", "most from", "repeats"]
    assert list(found["faults"].heads) == heads
    assert len(heads) <= terminal.ABREAST, "it fits a terminal"
    cells = [cell.text for cell in rows[0].cells]
    assert cells == ["0.250", "1.50", "0.250", "2.00", "0.250", "0.350 (gemini_pro)", "-0.050"]


def test_each_teacher_has_a_column_of_a_folded_table(tmp_path: Path) -> None:
    found = shown(run(tmp_path))
    for metric in ("inherited", "repeats"):
        group = found[f"findings-{metric}"]
        assert group.folded and [column.finding for column in group.columns] == list(TEACHERS)
    assert [column.finding for column in found["findings-invented"].columns] == ["edema"]
    assert columns.findings(measured.load(run(tmp_path / "again")).values) == list(fake_run.FINDINGS)


def test_every_form_of_the_report_has_it(tmp_path: Path) -> None:
    folder = run(tmp_path)
    reports.write(folder)
    assert "0.350 (gemini_pro)" in (folder / "report.html").read_text()
    assert "0.350 (gemini_pro)" in (folder / "report.md").read_text()
    assert r"0.350 (gemini\_pro)" in (folder / "report.tex").read_text()
    frame = pd.read_csv(folder / "report.csv")
    assert frame["inherited_most/mean"].tolist()[:2] == [0.35, 0.35]


def test_a_run_of_an_earlier_version_has_no_such_table(tmp_path: Path) -> None:
    folder = fake_run.make(tmp_path, arms=("spd_mt", "sft"), seeds=(0,))
    assert "faults" not in shown(folder)
    assert "taken over" not in reports.write(folder).read_text()


def test_a_largest_value_whose_teachers_are_not_known_stands_alone() -> None:
    lines = [("a", "A", "arm", 0, "accuracy", "mean", 0.5), ("a", "A", "arm", 0, "inherited_most", "mean", 0.3)]
    results = measured.Results(
        pd.DataFrame(lines, columns=measured.FIELDS),
        measured.nothing(measured.PLACE, measured.BOUNDS),
        measured.nothing(measured.PAIR, measured.BOUNDS),
    )
    column = next(column for column in columns.SUMMARY if column.metric == "inherited_most")
    assert table.rows(results, [column])[0].cells[0].text == "0.300"
