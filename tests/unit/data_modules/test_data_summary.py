"""The quality report of a data set, on sets with known faults."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from apo_lightning.cli import commands
from apo_lightning.reports.data_summary import show
from apo_lightning.types import Study
from data_modules import DATA
from data_modules.chestxray14 import ChestXray14
from data_modules.folder import FolderDataModule
from data_modules.summary import prevalence, same_content, summarise
from data_modules.transfer import Transfer
from tests.helpers.chestxray14_folder import nih_folder

NAN = float("nan")


@dataclass(eq=False, kw_only=True)
class Sick(FolderDataModule):
    """Six studies: a and b share an image and contradict each other across splits, c contradicts itself, d has no
    image, e has a damaged one, f is well but its patient is also in another split."""

    vocabulary = ("edema", "fracture", "no_finding", "support_devices")

    def read_index(self) -> Sequence[Study]:
        self.faults.append(("table.csv:9", "patient is empty"))
        self.left_out["no frontal image"] += 3

        def study(name: str, patient: str, split: str, *labels: float) -> Study:
            findings = dict(zip(self.vocabulary, labels, strict=True))
            return Study(name, patient, split, (str(self.folder / f"{name}.png"),), findings)

        return [
            study("a", "p1", "train", 1.0, 0.0, 0.0, 0.0),
            study("b", "p2", "test", 0.0, 0.0, 0.0, 0.0),
            study("c", "p3", "train", NAN, 1.0, 1.0, 1.0),
            study("d", "p4", "train", 1.0, 0.0, 0.0, 0.0),
            study("e", "p5", "val", 0.0, 0.0, 1.0, 1.0),
            study("f", "p3", "test", 0.0, NAN, 1.0, 1.0),
        ]


@pytest.fixture
def sick(tmp_path) -> Sick:
    for name, grey in (("a", 1), ("b", 1), ("c", 2), ("f", 3)):
        Image.new("L", (8, 8), grey).save(tmp_path / f"{name}.png")
    Image.effect_noise((64, 64), 9).save(tmp_path / "e.png")
    (tmp_path / "e.png").write_bytes((tmp_path / "e.png").read_bytes()[:900])
    return Sick(root=str(tmp_path))


def test_everything_that_is_wrong_is_found_and_nothing_else(sick):
    found = summarise(sick, "sick")
    assert {split: counts["studies"] for split, counts in found.counts.items()} == {"train": 2, "val": 1, "test": 2}
    assert found.counts["test"]["patients"] == 2 and found.counts["test"]["images"] == 2
    assert found.missing == {"train": 1} and found.left_out == {"no frontal image": 3}
    (row, why), (file, damage) = found.unusable  # e is opened: its first bytes are right
    assert (row, why) == ("table.csv:9", "patient is empty") and file.endswith("e.png") and "damaged" in damage
    assert found.patients_in_two_splits == {"train+test": ["p3"]}
    assert [[study for study, _ in group] for group in found.duplicates] == [["a", "b"]]
    assert found.duplicates_across == 1
    assert found.label_conflicts == [
        ("c", "no_finding beside fracture"),
        ("a, b", "the same image, and edema is both present and absent"),
    ]


def test_prevalence_by_hand(sick):
    """Train: a and c (d has no image); edema 1 and NaN, fracture 0 and 1."""
    found = summarise(sick, "sick", quick=True)
    assert found.prevalence["edema"] == {"train": (1, 0, 1), "val": (0, 1, 0), "test": (0, 2, 0)}
    assert found.prevalence["fracture"]["train"] == (1, 1, 0)
    assert found.prevalence["fracture"]["test"] == (0, 1, 1)
    assert found.duplicates == [], "a quick look compares no images"
    assert prevalence({"train": []}, ["edema"]) == {"edema": {"train": (0, 0, 0)}}


def test_files_of_one_size_are_told_apart_by_their_last_byte(tmp_path):
    for name, last in (("a", b"x"), ("b", b"x"), ("c", b"y")):
        (tmp_path / name).write_bytes(bytes(100_000) + last)
    images = [(name, str(tmp_path / name)) for name in "abc"] + [("gone", str(tmp_path / "gone"))]
    assert [[study for study, _ in group] for group in same_content(images)] == [["a", "b"]]


def test_the_terminal_shows_every_trouble(sick, capsys):
    show(summarise(sick, "sick"), Console(width=120))
    said = capsys.readouterr().out
    parts = (
        "1 = 50.0%",
        "train: 1 images",
        "no frontal image: 3",
        "table.csv:9: patient is empty",
        "a = b",
        "1 groups of equal images, 1 across splits",
        "no_finding beside fracture",
        "train+test: 1 patients",
    )
    assert [part for part in parts if part not in said] == []


def test_the_command_reads_a_set_by_its_name_and_writes_json(tmp_path, capsys):
    root = nih_folder(tmp_path / "nih")
    assert (
        commands.main(["data", "summary", "chestxray14", f"root={root}", "--json", str(tmp_path / "found.json")]) == 0
    )
    found = json.loads((tmp_path / "found.json").read_text())
    counts = {"studies": 10, "patients": 5, "images": 10, "reports": 0, "priors": 0, "boxes": 0}
    assert found["counts"]["test"] == counts
    assert found["prevalence"]["cardiomegaly"]["test"] == [2, 8, 0]
    assert "pleural effusion" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["chestxray41", "root=x"], ["There is no experiment 'chestxray41'", "Data sets: ", "chestxray14"]),
        (["chestxray14"], ["data.root must be given"]),
        (["chestxray14", "rot=x"], ["Unknown key 'data.rot'", "Did you mean 'root'?"]),
        (["chestxray14", "root=x", "labels_file=y.csv"], ["data.labels_file is not set here", "It is index_file now."]),
        (["chexpert", "root=x", "labels_file=y.csv"], ["data.labels_file is not set here", "It is index_file now."]),
        (["cxr_max", "root=x", "file=y.jsonl"], ["data.file is not set here", "It is index_file now."]),
        (["open_i", "root=x", "reports_file=y"], ["data.reports_file is not set here", "It is index_file now."]),
        (["tabular", "root=x", "table=y.csv"], ["data.table is not set here", "It is index_file now."]),
        (["chestxdet10", "root=x", "table=y.csv"], ["Unknown key 'data.table'", "Known: "]),
        (["chestxray14", "root=/nowhere"], ["/nowhere is no folder"]),
    ],
)
def test_mistakes_of_the_command(words, parts, capsys):
    assert commands.main(["data", "summary", *words]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert all(part in said for part in parts), said


def test_without_a_name_the_sets_are_listed(capsys):
    assert commands.main(["data", "summary"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: make summary DATA=name") and max(map(len, said.splitlines())) <= 80
    assert all(f"  {name} " in said for name in DATA)
    for words in (["root=x"], ["--quick"]):
        assert commands.main(["data", "summary", *words]) == 2
        assert f"{words[0]} belongs to a data set. Name it: chestxdet10, " in capsys.readouterr().err


def test_a_summary_holds_to_the_width_and_leaves_paths_whole(sick, capsys):
    found = summarise(sick, "sick", quick=True)
    found = replace(found, notes=["word " * 40], unusable=[("row 1", "reason " * 30), ("/long/" * 20, "gone")])
    show(found, Console(width=80))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80] == ["    " + "/long/" * 20 + ":"]


def test_an_experiment_with_another_evaluation_set(tmp_path, capsys):
    root = nih_folder(tmp_path / "nih")
    experiment = Path(__file__).parents[3] / "experiments/smoke.yaml"
    words = ["data.train=4", "data.val=2", "evaluate.data.name=chestxray14", f"evaluate.data.root={root}"]
    assert commands.main(["data", "summary", str(experiment), *words]) == 0
    said = capsys.readouterr().out
    assert "smoke: phantom -> chestxray14" in said


def test_an_image_in_both_of_two_sets_is_found(tmp_path):
    """The first test image of the second set is a copy of the first training image of the first."""
    train, test = (ChestXray14(root=str(nih_folder(tmp_path / name))) for name in ("a", "b"))
    copied = (train.studies("train")[0].images[0], test.studies("test")[0].images[0])
    for path in (tmp_path / "b/images").iterdir():
        Image.effect_noise((16, 16), 50).save(path)
    Path(copied[1]).write_bytes(Path(copied[0]).read_bytes())
    sets = [ChestXray14(root=str(tmp_path / name)) for name in ("a", "b")]
    sets[1].patients_of = "elsewhere"
    sets[1].read_index = lambda read=sets[1].read_index: [replace(s, id=f"b{s.id}") for s in read()]
    found = summarise(Transfer(*sets), "two")
    assert found.duplicates_across == 1 and [path for _, path in found.duplicates[0]] == list(copied)
    assert found.unusable == []
    assert found.patients_in_two_splits == {}, "numbers of two hospitals are not compared"


def test_list_of_one_name_says_all_of_its_settings(capsys: pytest.CaptureFixture) -> None:
    assert commands.main(["list", "chexpert"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("max_images:", "uncertain:", "allow_missing:", "data_fraction:"))
    assert commands.main(["list", "chexprt"]) == 2
    assert "Did you mean 'chexpert'?" in capsys.readouterr().err


def test_a_mapping_may_be_given_key_by_key(tmp_path, capsys):
    (tmp_path / "index.csv").write_text("image,labels\n" + "".join(f"{i}.png,Foo\n" for i in range(9)))
    for i in range(9):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    words = [f"root={tmp_path}", "index_file=index.csv", "labels=labels", "label_map.Foo=mass", "patient=image"]
    assert commands.main(["data", "summary", "tabular", *words]) == 0
    assert "mass" in capsys.readouterr().out


def test_a_set_without_any_of_its_images_is_one_line_and_an_error(tmp_path, capsys) -> None:
    (tmp_path / "labels.csv").write_text("image,patient,Edema\n" + "".join(f"{n}.png,{n},1\n" for n in range(12)))
    assert commands.main(["data", "summary", "tabular", f"root={tmp_path}", "index_file=labels.csv"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert f"tabular: none of its 12 images is there, first {tmp_path}/0.png. Correct data.root" in said.err
