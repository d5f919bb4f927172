"""``apo init`` on images, labels and texts that somebody has: what it writes checks and runs as it stands."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from PIL import Image

from apo_lightning import config
from apo_lightning.cli.commands import main
from tests.helpers.doc_blocks import blocks

FILES = [f"film{n:02d}.png" for n in range(20)]
GIVEN = ("--images", "scans", "--labels", "labels.csv", "--texts", "texts.csv")
SMALL = ("only=[base,vote]", "stages.apo.steps=1", "evaluate.max_new_tokens=4", "evaluate.likelihood.form=off")


def write(path: str, *rows: tuple) -> None:
    with Path(path).open("w") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty made-up films of ten patients with two findings, and two teachers' texts on them."""
    monkeypatch.chdir(tmp_path)
    Path("scans").mkdir()
    for n, name in enumerate(FILES):
        Image.new("L", (48, 48), 10 * n).save(Path("scans") / name)
    labels = [(name, f"p{n // 2}", 50, n % 2, 1) for n, name in enumerate(FILES)]
    write("labels.csv", ("Filename", "patient_id", "age", "Edema", "Effusion"), *labels)
    texts = [(name, who, "There is edema. No pleural effusion.") for name in FILES for who in ("gpt", "claude")]
    write("texts.csv", ("file", "model", "answer"), *texts)
    return tmp_path


@pytest.mark.parametrize("home", [".", "project"])
def test_it_checks_and_runs_at_once(
    films: Path, home: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["init", home, *GIVEN]) == 0
    said = capsys.readouterr().out
    assert "image: the column 'Filename'" in said and "patient: the column 'patient_id'" in said
    assert "gpt, claude: texts on 20 of 20 studies, 20 by file name" in said
    data = yaml.safe_load((films / home / "experiments/mine.yaml").read_text())["data"]
    assert data["findings_columns"] == {"Edema": "edema", "Effusion": "pleural_effusion"}
    assert (data["image"], data["patient"]) == ("Filename", "patient_id")
    assert data["root"] == ("." if home == "." else str(films))
    monkeypatch.chdir(films / home)
    assert main(["check", "mine"]) == 0
    if home == ".":
        assert main(["run", "mine", *SMALL]) == 0
        with Path("runs/mine/results.csv").open() as held:
            assert {"base", "vote"} <= {row["arm"] for row in csv.DictReader(held)}


def test_a_split_of_the_table_and_folders_in_its_names_are_kept(films: Path) -> None:
    splits = ["train"] * 12 + ["valid"] * 4 + ["test"] * 4
    write(
        "labels.csv", ("image", "Split", "Edema"), *((f"scans/{n}", s, 1) for n, s in zip(FILES, splits, strict=True))
    )
    assert main(["init", ".", *GIVEN]) == 0
    data = yaml.safe_load(Path("experiments/mine.yaml").read_text())["data"]
    assert data["split"] == "Split" and "images_dir" not in data and "val_fraction" not in data


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (GIVEN[:4], "takes --images, --labels and --texts together; --texts is not given"),
        (("--images", "films", *GIVEN[2:]), "--images films is no folder"),
        ((*GIVEN[:4], "--texts", "none.csv"), "--texts: there is no file none.csv"),
    ],
)
def test_what_is_not_there_is_named(
    films: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", ".", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not Path("experiments/mine.yaml").exists()


def test_nothing_is_left_of_files_that_do_not_belong_together(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("texts.csv", ("file", "model", "answer"), *((f"other{n}.png", "gpt", "No edema.") for n in range(20)))
    assert main(["init", ".", *GIVEN]) == 2
    assert "none for the 20 studies" in " ".join(capsys.readouterr().err.split())
    assert not Path("experiments/mine.yaml").exists()
    write("labels.csv", ("Filename", "Edema"), *((f"other{n}.png", 1) for n in range(20)))
    assert main(["init", ".", *GIVEN]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "None of the first 20 images" in said and "other0.png" in said and "film00.png" in said


def test_an_experiment_that_is_there_is_left_alone(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("experiments").mkdir()
    Path("experiments/mine.yaml").write_text("# thesis\n")
    assert main(["init", ".", *GIVEN]) == 2
    assert "is there already" in capsys.readouterr().err
    assert Path("experiments/mine.yaml").read_text() == "# thesis\n"


def test_the_page_shows_the_experiment_that_is_written(films: Path) -> None:
    """Its table has the columns of the page."""
    (shown,) = (block for block in blocks(ROOT / "docs/your_own.md") if block.title == "experiments/mine.yaml")
    write("labels.csv", ("filename", "patient_id", "Atelectasis", "Cardiomegaly"), *((n, n, 1, 0) for n in FILES))
    Path("scans").rename("images")
    assert main(["init", ".", "--images", "images", *GIVEN[2:]]) == 0
    written = config.load(Path("experiments/mine.yaml"))
    Path("page.yaml").write_text(shown.body)
    page = config.load(Path("page.yaml"))
    assert {**page.data, "credentialed": True} == written.data
    assert (page.teachers, page.arms) == (written.teachers, written.arms)
