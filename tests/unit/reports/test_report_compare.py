"""Several runs on one page: whose row is whose, and what is said where their test sets are not the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from apo_lightning import reports
from apo_lightning.cli import commands
from apo_lightning.errors import ArtifactError
from apo_lightning.reports import compare, groups, sentences, table
from tests.helpers import fake_run, rich_run

SMALL = {"seeds": (0,), "steps": 2}


def run(root: Path, name: str, arms: tuple[str, ...], **options) -> Path:
    made = fake_run.make(root / name, arms=arms, **SMALL | options)
    return made.rename(made.with_name(name))


def split(folder: Path, studies: int = 4, also: str = "") -> Path:
    lines = [f"study{i:03d},p{i},test\n" for i in range(studies)]
    (folder / "splits.csv").write_text("study,patient,split\n" + "".join(lines) + also)
    return folder


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    made = [run(tmp_path, "one", ("base", "sft")), run(tmp_path, "two", ("spd_mt", "sft", "dpo"))]
    return [split(folder) for folder in made]


def test_rows_are_prefixed_by_their_run_and_equal_teachers_stand_once(two: list[Path]) -> None:
    found = compare.together(compare.read(two))
    assert list(table.arm_labels(found.values)) == ["one/base", "one/sft", "two/spd_mt", "two/sft", "two/dpo"]
    assert table.arm_labels(found.values)["two/sft"] == "two: SPD+MT, SFT on t+"
    assert found.runs["two/sft"] == "two"
    assert table.references(found) == {"one/base": "one/sft", "two/spd_mt": "two/sft", "two/dpo": "two/sft"}
    shared = compare.together(compare.read([two[0], two[0]]))
    teachers = shared.values[shared.values["kind"] == "teacher"]
    assert list(teachers["label"].unique()) == list(fake_run.TEACHERS) and teachers["arm"].nunique() == 7


def test_differences_and_stars_are_those_within_a_run(tmp_path: Path) -> None:
    made = [
        rich_run.make(tmp_path / name, arms=("base", "sft"), findings=("edema", "fracture"), **SMALL) for name in "ab"
    ]
    found = compare.together(compare.read(made))
    rows = {row.arm: row.cells[0] for _, own in groups.groups(found)[0].sections for row in own}
    assert [rows[f"{name}/runs/fake/base"].mark for name in "ab"] == ["**", "**"]
    assert not any(cell.bold for cell in rows.values())
    assert [own.against for own in sentences.differences(found)] == [f"{n}/runs/fake: SPD+MT, SFT on t+" for n in "ab"]
    assert sentences.ACROSS in sentences.counting(found, 10, 0)


def test_nothing_is_said_where_the_test_sets_are_the_same(two: list[Path]) -> None:
    split(two[1], also="other,q,train\n")  # more to train on
    assert compare.warnings(compare.read(two)) == []


def other_studies(folder: Path) -> None:
    split(folder, 3)


def other_labels(folder: Path) -> None:
    for name, value in (("one", 0), ("two", 1)):
        for path in (folder.parents[2] / name).glob("runs/store/evaluate-*/predictions.jsonl"):
            path.write_text(json.dumps({"study": "study000", "truth": {"edema": value}}) + "\n")


def other_citation(folder: Path) -> None:
    (folder / "manifest.json").write_text(json.dumps({"citation": "B. Author"}))


def other_findings(folder: Path) -> None:
    path = folder / "results.csv"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if ",edema," not in line))


def other_images(folder: Path) -> None:
    for each, domain in ((folder, "scanner"), (folder.parents[2] / "one" / "runs" / "one", "home")):
        (each / "config.yaml").write_text(yaml.safe_dump({"data": {"name": "phantom", "domain": domain, "train": 1}}))


def no_studies(folder: Path) -> None:
    for each in (folder, folder.parents[2] / "one" / "runs" / "one"):
        (each / "splits.csv").unlink()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_studies, "The test sets of one and two differ (4 and 3 studies, 3 shared): do not compare their rows."),
        (other_labels, "The studies of one and two have the same names and other labels: do not compare their rows."),
        (
            other_citation,
            "one and two are of different data sets (not recorded; B. Author): do not compare their rows.",
        ),
        (other_findings, "one and two were measured on other findings (not in both: edema)"),
        (other_images, "The data of one and two are set otherwise: data.domain home and scanner."),
        (no_studies, "It is not recorded which studies one and two were tested on"),
    ],
)
def test_what_is_not_the_same_is_said(two: list[Path], change, says: str) -> None:
    change(two[1])
    (said,) = compare.warnings(compare.read(two))
    assert said.startswith(says)


def test_what_shares_nothing_is_refused(tmp_path: Path) -> None:
    made = [
        run(tmp_path, name, ("base", "sft"), findings=(finding,))
        for name, finding in (("one", "edema"), ("two", "fracture"))
    ]
    with pytest.raises(ArtifactError, match=r"one and .*two have no finding in common, so that nothing"):
        reports.write_several(made)
    path = made[1] / "results.csv"
    path.write_text(path.read_text().replace("accuracy", "progression_accuracy").replace("fracture", "edema"))
    with pytest.raises(ArtifactError, match=r"have other measures \(mean accuracy; progression\)"):
        reports.write_several(made)


def test_several_runs_make_one_page_and_leave_the_runs_alone(two: list[Path], capsys) -> None:
    before = [sorted(path.name for path in folder.iterdir()) for folder in two]
    split(two[1], 3)
    assert commands.main(["report", *map(str, two)]) == 0
    place = two[0].parent / "comparisons" / "one_vs_two"
    assert str(place / "report.html") in capsys.readouterr().out.replace("\n", "")
    html, md = ((place / name).read_text("utf-8") for name in ("report.html", "report.md"))
    for text in (html, md):
        assert "The test sets of one and two differ" in text and "two: SPD+MT, DPO" in text
    assert "study000" not in html and "study000" not in md
    names = {path.name for path in (place / "figures").iterdir()}
    assert {"run1_accuracy.png", "run2_accuracy.png", "run2_rewards.png"} <= names
    assert all(f"figures/{name}" in md for name in names)
    assert {"report.csv", "report.tex", "table.tex"} <= {path.name for path in place.iterdir()}
    assert [sorted(path.name for path in folder.iterdir()) for folder in two] == before


def test_one_run_named_twice_is_one_report(two: list[Path], capsys) -> None:
    assert commands.main(["report", str(two[0]), f"{two[0]}/"]) == 0
    assert str(two[0] / "report.html") in capsys.readouterr().out.replace("\n", "")


def test_a_run_without_results_is_named(two: list[Path], capsys) -> None:
    (two[1] / "results.csv").unlink()
    assert commands.main(["report", *map(str, two)]) == 2
    assert "two/results.csv does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["r/a", "r/b"], ["a", "b"]),
        (["r/a", "s/a"], ["r/a", "s/a"]),
        (["x/r/a", "y/r/a", "y/r/b"], ["x/r/a", "y/r/a", "y/r/b"]),
    ],
)
def test_names_tell_runs_apart(paths: list[str], names: list[str]) -> None:
    assert compare._names(list(map(Path, paths))) == names


def test_the_folder_of_many_runs_has_a_name_that_fits(two: list[Path]) -> None:
    runs = compare.read([two[0]]) * 40
    place = compare.place(runs)
    assert len(place.name) < 90 and place.parent.name == "comparisons"
