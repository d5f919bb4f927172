"""Before training somebody is told whether recorded texts are about the studies: by check, data summary and collect."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from apo_lightning.cli.commands import main

FILES = [f"film{n}.png" for n in range(10)]
SAID = "gpt, claude: texts on 10 of 10 studies, 10 by file name"


def folder(at: Path, named: list[str]) -> Path:
    """Ten made-up films with labels, two teachers' texts on the images of ``named``, and an experiment of them."""
    (at / "images").mkdir()
    for n, name in enumerate(FILES):
        Image.new("L", (32, 32), 20 * n).save(at / "images" / name)
    with (at / "labels.csv").open("w") as file:
        csv.writer(file).writerows(
            [("filename", "patient_id", "Edema"), *((n, n[:5], i % 2) for i, n in enumerate(FILES))]
        )
    with (at / "texts.csv").open("w") as file:
        rows = [(name, who, "There is edema.") for name in named for who in ("gpt", "claude")]
        csv.writer(file).writerows([("file", "model", "answer"), *rows])
    (at / "mine.yaml").write_text(
        f"name: mine\nextends: [smoke.yaml]\ndata: {{name: tabular, root: {at}, index_file: labels.csv, "
        f"images_dir: images, val_fraction: 0.2, test_fraction: 0.2}}\nteachers: {{from: {at}/texts.csv}}\n"
    )
    return at / "mine.yaml"


COMMANDS = {
    "check": lambda path: ["check", path],
    "check, of one": lambda path: ["check", path, "seeds=[1]"],
    "summary": lambda path: ["data", "summary", path],
    "collect": lambda path: ["collect", path, "--dry-run"],
}


@pytest.mark.parametrize("which", COMMANDS)
def test_texts_that_match_are_told(which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(COMMANDS[which](str(folder(tmp_path, FILES)))) == 0
    assert SAID in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("which", COMMANDS)
def test_misses_of_both_sides_are_named(which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder(tmp_path, [*FILES[:6], *(f"other{n}.png" for n in range(4))])
    assert main(COMMANDS[which](str(path))) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "gpt, claude: texts on 6 of 10 studies, 6 by file name" in said
    assert "gpt, claude: 4 texts name no study here, as other0.png, other1.png, other2.png" in said
    assert "gpt, claude: 4 studies have no text, as film" in said


@pytest.mark.parametrize("which", COMMANDS)
def test_texts_on_other_images_are_an_error(which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder(tmp_path, [f"other{n}.png" for n in range(10)])
    assert main(COMMANDS[which](str(path))) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "none for the 10 studies" in said and "'other0.png'" in said and "'film" in said


def test_texts_that_are_not_there_pass_a_check_and_are_named_by_collect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder(tmp_path, FILES)
    text = path.read_text().replace(f"from: {tmp_path}/texts.csv", f"gpt: {{kind: recorded, path: {tmp_path}/no.csv}}")
    path.write_text(text)
    assert main(["check", str(path)]) == 0
    assert main(["collect", str(path)]) == 2
    assert f"teachers.gpt: there is no file {tmp_path}/no.csv" in " ".join(capsys.readouterr().err.split())


def test_the_summary_of_an_experiment_says_what_kind_its_teachers_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "summary", str(folder(tmp_path, FILES))]) == 0
    assert "teachers: 2 recorded" in capsys.readouterr().out
