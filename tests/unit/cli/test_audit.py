"""``apo audit``: what is doubtful, which files it reads, and what it shows."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from apo_lightning.cli.commands import main
from apo_lightning.text.doubts import audit

NAMES = ["edema", "pleural_effusion", "pneumonia"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No edema. Left effusion. No right effusion.", ()),
        ("There is edema. On review, no edema.", ("contradicts itself: edema",)),
        ("Edema: N/A", ("named, but nothing read: edema", "states nothing")),
        ("Normal chest radiograph. Small effusion.", ("calls the film normal, but states a finding",)),
        ("I cannot interpret medical images. No edema.", ("refuses, but names findings: edema",)),
        ("<think>There is edema.", ("thinks, but gives no answer",)),
        ("The trachea is midline.", ("states nothing",)),
        ("Normal chest radiograph.", ()),
        ("I cannot interpret medical images.", ()),
    ],
)
def test_doubts(text: str, expected: tuple[str, ...]) -> None:
    assert audit("s", "t", text, NAMES).doubts == expected


def write(path: Path, *rows: dict) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_doubtful_come_first_with_every_sentence_and_shares_by_teacher(tmp_path: Path, capsys) -> None:
    file = write(
        tmp_path / "texts.jsonl",
        {"study": "s1", "teacher": "a", "text": "No edema. Chest film."},
        {"study": "s2", "teacher": "b", "text": "Normal chest radiograph."},
        {"study": "s3", "teacher": "b", "text": "Left effusion. No effusion."},
    )
    assert (
        main(["audit", file, "--findings", "edema,pleural effusion", "--texts", "2", "--csv", str(tmp_path / "o.csv")])
        == 0
    )
    said = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if line.startswith("│")]
    assert ["a", "1", "0.0", "0.0", "0.0", "100.0", "0.0"] in rows
    assert ["b", "2", "0.0", "0.0", "50.0", "50.0", "50.0"] in rows
    assert ["edema", "0", "2", "1"] in rows and ["pleural_effusion", "0", "2", "1"] in rows
    assert said.index("s3 · b") < said.index("s1 · a") and "s2 · b" not in said
    assert "contradicts itself: pleural_effusion" in said and "pleural_effusion: present, left" in said
    with (tmp_path / "o.csv").open() as lines:
        table = [(row["study"], row["sentence"], row["finding"], row["value"]) for row in csv.DictReader(lines)]
    assert table[:2] == [
        ("s3", "Left effusion.", "pleural_effusion", "present"),
        ("s3", "No effusion.", "pleural_effusion", "absent"),
    ]
    assert ("s1", "Chest film.", "", "") in table


def test_names_are_whole_however_long_they_are(tmp_path: Path, capsys) -> None:
    teacher, finding = "a_teacher_with_a_name_" * 5, "a_finding_of_our_own_" * 5
    path = write(tmp_path / "a.jsonl", {"study": "s", "teacher": teacher, "text": "No edema."})
    assert main(["audit", path, "--texts", "0", "--findings", f"{finding},edema"]) == 0
    said = capsys.readouterr().out
    assert teacher in said and finding in said


def test_files_of_a_run_and_of_importers_are_read(tmp_path: Path, capsys) -> None:
    preferred = write(tmp_path / "preferred.jsonl", {"study": "s1", "text": "Edema.", "split": "train"})
    images = write(
        tmp_path / "i.jsonl", {"id": "s1", "image": "a.png", "trajectories": {"x": "Edema.", "y": "No edema."}}
    )
    assert main(["audit", preferred]) == main(["audit", images, "--teacher", "y"]) == 0
    said = capsys.readouterr().out
    assert "s1 · preferred · stated" in said and "s1 · y" in said and "s1 · x" not in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--findings", "edma"], "--findings names 'edma'. Did you mean 'edema'?"),
        (["--findings", ","], "--findings names none."),
        (["--texts", "-1"], "--texts must be 0 or more, got -1."),
        (["--teacher", "z"], "has no teacher 'z'. It has: a."),
    ],
)
def test_mistakes_are_named(tmp_path: Path, capsys, options: list[str], message: str) -> None:
    file = write(tmp_path / "t.jsonl", {"study": "s", "teacher": "a", "text": "Edema."})
    assert main(["audit", file, *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "has no texts"), ("{}\n", "t.jsonl:1: 'study' must be a string"), ("x\n", "t.jsonl:1: not JSON")],
)
def test_files_that_are_none_are_named(tmp_path: Path, capsys, content: str, message: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(content)
    assert main(["audit", str(path)]) == 2
    assert message in capsys.readouterr().err
