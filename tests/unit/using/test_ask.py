"""Asking a run's student: which student is meant, how images are read, what is printed and written."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apo_lightning import config, prompts
from apo_lightning.cli import ask, main
from apo_lightning.cli.ask import split
from apo_lightning.errors import ArtifactError, ConfigError, DataError
from apo_lightning.experiment.run import run
from apo_lightning.types import Example, Study
from apo_lightning.using import TrainedStudent, choose
from data_modules.phantom import Phantom
from tests.helpers.dicom_files import dicom_file
from tests.project.test_readme import ROOT

SMALL = ("data.train=4", "data.val=4", "data.test=6", "stages.spd.steps=2", "stages.apo.steps=2", "wandb.mode=disabled")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the embedded student, whose answers say something."""
    given = [*SMALL, f"runs_dir={tmp_path_factory.mktemp('runs')}", "evaluate.likelihood.form=off"]
    return run(config.load(ROOT / "experiments" / "smoke.yaml", given))


@pytest.fixture(scope="module")
def pictures(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Study to a PNG of its image, of the run's test split."""
    data, place = Phantom(train=4, val=4, test=6), tmp_path_factory.mktemp("pictures")
    for study in data.studies("test"):
        data.images(study)[0].save(place / f"{study.id}.png")
    return {path.stem: path for path in sorted(place.iterdir())}


def predicted(folder: Path, arm: str) -> dict[str, dict]:
    lines = (folder / arm / "seed0" / "evaluate" / "predictions.jsonl").read_text().splitlines()
    return {row["study"]: row for row in map(json.loads, lines)}


def test_it_answers_as_it_did_in_the_run(folder: Path, pictures: dict[str, Path]) -> None:
    student = TrainedStudent.of(folder, "apo_listwise")
    for study, row in list(predicted(folder, "apo_listwise").items())[:3]:
        reply = student.ask(pictures[study])
        assert reply.text == row["text"]
        assert reply.findings == {name: float(value) for name, value in row["findings"].items()}
        assert reply.kind == row["kind"] and not reply.cut
    assert student.prompt == prompts.render("describe", student.listed)
    assert [one.stage for one in student.chosen.line()] == [None, "spd", "apo"]


def test_a_question_is_asked_in_its_own_words(folder: Path, pictures: dict[str, Path]) -> None:
    student, path = TrainedStudent.of(folder, "spd_mt"), next(iter(pictures.values()))
    batch = student.collator("No edema?")([student_item(path)])
    shown = student.student.processor.tokenizer.decode(batch.prefix_ids[0])
    assert "No edema" in shown and student.prompt not in shown
    plain = student.collator()([student_item(path)])
    assert student.prompt in student.student.processor.tokenizer.decode(plain.prefix_ids[0])
    with pytest.raises(ConfigError, match="question is empty"):
        student.ask(path, " ")


def student_item(path: Path) -> tuple[Example, list[Image.Image]]:
    return Example(Study("s", "s", "test", (), {})), [Image.open(path)]


def test_dicom_and_several_images_go_in_as_well(folder: Path, pictures: dict[str, Path], tmp_path: Path) -> None:
    student = TrainedStudent.of(folder, "base")
    assert student.chosen.saved is None
    first, second = list(pictures.values())[:2]
    slice_ = dicom_file(tmp_path / "IM0001", np.asarray(Image.open(first)))
    assert student.ask(slice_).text == student.ask(first).text
    both = student.collator()([(student_item(first)[0], [Image.open(first), Image.open(second)])])
    assert both.image_counts == [2]


@pytest.mark.parametrize(
    ("named", "kind", "says"),
    [
        (("runs/nothing",), ArtifactError, "no run folder"),
        (("{run}",), ConfigError, "several arms: base, spd_mt, apo_listwise"),
        (("{run}/apo_listwize",), ConfigError, "Did you mean 'apo_listwise'"),
        (("{run}", "apo_listwise", 3), ConfigError, "has no seed 3. It has: 0"),
    ],
)
def test_what_is_not_there_is_said(folder: Path, named: tuple, kind: type[Exception], says: str) -> None:
    run, *more = named
    with pytest.raises(kind, match=says):
        choose(run.format(run=folder), *more)


def test_a_run_is_found_by_name_and_its_only_arm_by_itself(folder: Path) -> None:
    assert choose("smoke/spd_mt", runs_dir=folder.parent).stage == "spd"
    assert choose(folder, "base").stage is None
    text = (folder / "config.yaml").read_text()
    one = folder.parent / "one"
    one.mkdir()
    (one / "config.yaml").write_text(text.replace("only: []", "only: [spd_mt]"))
    assert choose("one", runs_dir=folder.parent).arm == "spd_mt"
    with pytest.raises(ArtifactError, match="no student of arm 'spd_mt', seed 0, stage 'spd'"):
        _ = choose(one).saved


def test_words_are_images_and_one_question(tmp_path: Path) -> None:
    there = tmp_path / "an image?"
    there.touch()
    assert split([str(there), "b.png"]) == ([there, Path("b.png")], None)
    assert split(["b.png", "Edema?"]) == ([Path("b.png")], "Edema?")
    with pytest.raises(ConfigError, match="several questions"):
        split(["b.png", "Edema?", "Is it large?"])
    with pytest.raises(ConfigError, match="no image"):
        split(["Is it large?"])


def test_a_question_without_quotes_is_told_from_missing_files(tmp_path: Path) -> None:
    there = tmp_path / "image.png"
    there.touch()
    for words in ("Is there an effusion?", "describe this film", "Right-sided effusion, is there any?"):
        with pytest.raises(ConfigError, match=f'put quotes around it, "{re.escape(words)}"'):
            split([str(there), *words.split()])
        with pytest.raises(ConfigError, match="no image"):
            split([words]) if words.endswith("?") else split(["a?"])
    for missing in (["a.png", "b.png"], ["IM0001", "IM0002"], ["IMAGE"]):
        assert split([str(there), *missing]) == ([there, *map(Path, missing)], None)


def test_one_answer_and_a_comparison_are_printed(
    folder: Path, pictures: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    study, path = next(iter(pictures.items()))
    assert main(["ask", f"{folder}/apo_listwise", str(path)]) == 0
    said = capsys.readouterr().out
    row = predicted(folder, "apo_listwise")[study]
    assert said.startswith(row["text"]) and "not for clinical use" in said
    present = [name.replace("_", " ") for name, value in row["findings"].items() if value == 1]
    assert f"present: {', '.join(present) or 'none'}\n" in said
    assert main(["ask", f"{folder}/apo_listwise", str(path), "--compare"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["base", "spd", "apo"] in lines
    cell = {1: "present", 0: "absent", None: "–"}[row["findings"]["edema"]]
    assert next(line for line in lines if line[:1] == ["edema"])[-1] == cell


def test_a_folder_is_answered_into_a_table_and_a_bad_file_is_a_row(
    folder: Path, pictures: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "in"
    (place / "deep").mkdir(parents=True)
    first, second, *_ = pictures
    (place / "a.png").write_bytes(pictures[first].read_bytes())
    (place / "b.jpg").write_bytes(b"no image")
    (place / "deep" / "c.png").write_bytes(pictures[second].read_bytes())
    (place / "labels.csv").write_text("a\n")
    assert main(["ask", f"{folder}/apo_listwise", str(place), "--out", str(tmp_path / "out.csv")]) == 2
    told = capsys.readouterr()
    assert "2 of 3 images answered, 1 could not be read" in told.out and "labels.csv" in told.out
    assert "b.jpg" in told.err
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["image"] for row in rows] == ["a.png", "b.jpg", "deep/c.png"]
    for row, study in ((rows[0], first), (rows[2], second)):
        known = predicted(folder, "apo_listwise")[study]
        assert row["answer"] == known["text"] and not row["error"]
        stated = {name: "" if value is None else str(value) for name, value in known["findings"].items()}
        assert {name: row[name] for name in stated} == stated
    assert "b.jpg" in rows[1]["error"] and not rows[1]["answer"] and not rows[1]["edema"]


def test_what_was_answered_is_kept_where_it_stops(
    folder: Path, pictures: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(self: TrainedStudent, paths, question=None):
        yield Path(paths[0]), self.ask(paths[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainedStudent, "ask_each", stops)
    student = TrainedStudent.of(folder, "base")
    with pytest.raises(KeyboardInterrupt):
        ask.write(student, next(iter(pictures.values())).parent, None, tmp_path / "out.csv")
    assert len(list(csv.DictReader((tmp_path / "out.csv").open()))) == 1


def test_limits_of_the_run_hold(folder: Path, pictures: dict[str, Path]) -> None:
    student = TrainedStudent.of(folder, "base")
    student.limits = {"max_pixels": 100}
    with pytest.raises(DataError, match="at most 100 are read"):
        student.ask(next(iter(pictures.values())))


@pytest.mark.parametrize(
    ("words", "says"),
    [(["{place}"], "is a folder: give --out"), (["{image}", "--out", "x.csv"], "--out takes the answers of a folder")],
)
def test_what_does_not_go_together_is_refused(
    pictures: dict[str, Path], words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next(iter(pictures.values()))
    assert main(["ask", "x", *(word.format(place=image.parent, image=image) for word in words)]) == 2
    assert says in capsys.readouterr().err
