"""``samples/``: one image a study whatever its id is, nothing of it once it may not be shown, and no way out of it."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from PIL import Image

from apo_lightning import reports
from apo_lightning.errors import ArtifactError, DataError
from apo_lightning.experiment import run, sample_files
from apo_lightning.files.atomic import file_name, remove
from apo_lightning.files.formats import quoted, unquoted, write_csv
from apo_lightning.reports import measured, samples
from apo_lightning.types import Study
from data_modules.loading.checks import report_bad
from data_modules.loading.splits import read_split_file
from data_modules.tables import Faults
from tests.helpers import fake_run

IDS = (
    "a/1",
    "a_1",
    "A_1",
    "a\\1",
    "a 1",
    "a:1",
    "x" * 300,
    "x" * 301,
    "nul\x00l",
    "..",
    "../../etc/passwd",
    ".",
    "CON",
    "con",
    "",
    " ",
    "\xe9",
    "e\u0301",
    "a\n1",
    "-rf",
    "=1+1",
    "\ud83d",
    "\u80ba",
    "\u80ba\u708e",
    "p1.png",
)


def data(ids: tuple[str, ...]) -> SimpleNamespace:
    studies = [
        Study(name, f"p{i}", "test", ("f",), {"edema": 1.0}, report=f"Report {i}.") for i, name in enumerate(ids)
    ]
    grey = {study.id: i for i, study in enumerate(studies)}
    return SimpleNamespace(
        studies=lambda split: studies, images=lambda study: [Image.new("L", (2, 2), 5 * grey[study.id])]
    )


def test_every_id_has_its_own_image(tmp_path: Path) -> None:
    sample_files.keep(data(IDS), "test", tmp_path)
    rows = json.loads((tmp_path / "samples" / "samples.json").read_text())
    assert [row["study"] for row in rows] == list(IDS)
    assert len({row["image"].lower() for row in rows}) == len(IDS) == len(list((tmp_path / "samples").glob("*.png")))
    for number, row in enumerate(rows):
        assert Path(row["image"]).name == row["image"] and len(row["image"]) < 100
        assert Image.open(tmp_path / "samples" / row["image"]).getpixel((0, 0)) == 5 * number
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples"]


def test_the_report_shows_the_image_of_the_study(tmp_path: Path) -> None:
    sample_files.keep(data(("a_1", "a/1")), "test", tmp_path)
    entries = json.loads((tmp_path / "samples" / "samples.json").read_text())
    shown = [samples._sample(tmp_path, entry["study"], entry).image for entry in entries]
    assert None not in shown and shown[0] != shown[1]


def test_images_of_an_earlier_run_go(tmp_path: Path) -> None:
    sample_files.keep(data(("s1", "s2")), "test", tmp_path)
    sample_files.keep(data(("s2",)), "test", tmp_path)
    assert [path.name for path in (tmp_path / "samples").glob("*.png")] == [f"{file_name('s2')}.png"]


def test_images_are_made_small_and_no_more_than_count_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_files, "COUNT", 2)
    own = data(("s1", "s2", "s3"))
    own.images = lambda study: [Image.new("L", (1000, 500), 7)]
    sample_files.keep(own, "test", tmp_path)
    rows = json.loads((tmp_path / "samples" / "samples.json").read_text())
    assert [row["study"] for row in rows] == ["s1", "s2"]
    with Image.open(tmp_path / "samples" / rows[0]["image"]) as image:
        assert image.size == (sample_files.SIDE, sample_files.SIDE // 2) and image.getpixel((9, 9)) == 7


def test_an_image_that_is_gone_by_now_costs_its_image_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The table is written by then: the run must not end here."""
    own, whole = data(("s1", "s2")), Image.new("L", (2, 2))

    def images(study: Study) -> list[Image.Image]:
        if study.id == "s1":
            raise DataError("s1.png: no such file.")
        return [whole]

    own.images = images
    sample_files.keep(own, "test", tmp_path)
    rows = json.loads((tmp_path / "samples" / "samples.json").read_text())
    assert [row["image"] is None for row in rows] == [True, False]
    assert "s1.png: no such file." in " ".join(capsys.readouterr().out.split())


def test_a_link_in_the_place_of_samples_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.png").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "samples").symlink_to(tmp_path / "mine")
    sample_files.keep(data(("s1",)), "test", tmp_path / "run")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["holiday.png"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "samples").symlink_to(tmp_path / "mine")
    sample_files.withdraw(tmp_path / "other", {"x"})
    assert (tmp_path / "mine" / "holiday.png").exists() and not (tmp_path / "other" / "samples").is_symlink()


def test_what_may_not_be_shown_any_more_is_removed_and_said(tmp_path: Path, capsys) -> None:
    folder = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=2)
    reports.write(folder)
    assert "data:image/webp" in (folder / "report.html").read_text()
    sample_files.withdraw(folder, {"mimic_cxr"})
    said = " ".join(capsys.readouterr().out.split())
    assert "4 images and reports of mimic_cxr was removed" in said
    left = {path.name for path in folder.iterdir()}
    assert not left & {"samples", "report.html", "report.md"} and "results.csv" in left
    sample_files.withdraw(folder, {"mimic_cxr"})
    assert capsys.readouterr().out == ""


def test_a_run_without_the_acknowledgement_withdraws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only one of two guarded sets lost it."""
    called = []
    monkeypatch.setattr(run.sample_files, "keep", lambda *a: called.append("keep"))
    monkeypatch.setattr(run.sample_files, "withdraw", lambda folder, names: called.append(sorted(names)))
    quiet = ("reports.print_table", "file_digest", "leader.say", "words")
    written = ("results", "reports", "failure_files", "further_sets", "pruned")
    for name in (*quiet, *(f"{module}.write" for module in written), "drift_files.write_quick"):
        monkeypatch.setattr(f"apo_lightning.experiment.run.{name}", lambda *a, **k: None)
    for module in (run.told_labels, run.gating):
        monkeypatch.setattr(module, "facts", lambda contexts: {})
    monkeypatch.setattr(run.config, "to_dict", lambda cfg: {"name": "x", "seeds": [0]})
    part = SimpleNamespace(credentialed=True)
    sets = SimpleNamespace(parts=(part, part), citation="", facts=dict)
    for acknowledge in (["a", "b"], ["a"], []):
        words = SimpleNamespace(resolved=lambda prompt: None)
        plan = SimpleNamespace(data={"name": "b"}, split="test", warn_cut=0.1, prompt="describe", report_text=words)
        cfg = SimpleNamespace(name="x", wandb=None, data={"name": "a"}, evaluate=plan, acknowledge=acknowledge)
        folder = SimpleNamespace(path=tmp_path, finish=lambda *a, **k: None)
        run._conclude(cfg, {"a", "b"}, {"base": SimpleNamespace(data=sets)}, [], folder)
    assert called == ["keep", ["b"], ["a", "b"]]


def settings(folder: Path, acknowledge: object) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump({"name": "fake", "acknowledge": acknowledge}))


@pytest.mark.parametrize(
    ("config", "guarded", "shown"),
    [
        (["a", "b"], ["a", "b"], True),
        (["a"], ["a", "b"], False),
        ([], ["a"], False),
        (["b"], ["a"], False),
        (None, ["a"], False),
        ("a", ["a"], False),
        (["a"], None, True),
        ([], None, False),
        (["a"], "a", False),
    ],
)
def test_a_report_obeys_the_last_run_that_was_begun(tmp_path: Path, config, guarded, shown: bool) -> None:
    """Also one that was killed, so that the manifest is that of the run before."""
    manifest = {"credentialed": True, "acknowledged": True} | ({} if guarded is None else {"guarded": guarded})
    folder = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=2, manifest=manifest)
    settings(folder, config)
    reports.write(folder)
    for name in ("report.html", "report.md"):
        text = (folder / name).read_text()
        assert ("study000" in text) is shown and (samples.WITHHELD in text) is not shown


@pytest.mark.parametrize("content", ["", "name: [", "- a", "\x00"])
def test_settings_that_cannot_be_read_acknowledge_nothing(tmp_path: Path, content: str) -> None:
    folder = fake_run.make(
        tmp_path, arms=("base",), seeds=(0,), steps=2, manifest={"credentialed": True, "acknowledged": True}
    )
    (folder / "config.yaml").write_text(content)
    assert "study000" not in reports.write(folder).read_text()


def test_a_run_that_may_not_show_withdraws_before_it_trains(tmp_path: Path) -> None:
    """It may fail or be killed later; one that may keeps what is there."""
    made = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=2)
    reports.write(made)
    for acknowledge, left in ((["a"], True), ([], False)):
        cfg = SimpleNamespace(acknowledge=acknowledge)
        folder = run.RunFolder(made.parent, made.name)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(run.config, "dump", lambda cfg: yaml.safe_dump({"acknowledge": cfg.acknowledge}))
            with run._claim(cfg, {"a"}, folder, {"acknowledge": acknowledge}):
                raise KeyboardInterrupt
        assert all((made / name).exists() is left for name in ("samples", "report.html", "report.md"))


def test_what_a_withdrawal_left_goes_with_the_next(tmp_path: Path, capsys) -> None:
    """Halves of reports whose writer was killed, and reports whose samples are gone; none that shows nothing."""
    folder = run_folder(tmp_path)
    reports.write(folder)
    for name in (".report.html.0123abcd.tmp", ".report.md.0123abcd.tmp"):
        (folder / name).write_text("SECRET")
    remove(folder / "samples")
    sample_files.withdraw(folder, {"mimic_cxr"})
    left = [path.name for path in folder.iterdir() if "report" in path.name]
    assert sorted(left) == ["report.csv", "report.tex"]  # which show no study
    assert not any("SECRET" in (folder / name).read_text() for name in left)
    assert "report.html" in capsys.readouterr().out.replace("\n", "")
    (folder / "report.html").write_text(samples.WITHHELD)
    sample_files.withdraw(folder, {"mimic_cxr"})
    assert (folder / "report.html").exists() and capsys.readouterr().out == ""


def run_folder(tmp_path: Path) -> Path:
    return fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=2)


def linked(name: str, content: str = "SECRET") -> Callable[[Path, Path], None]:
    """Put a link to a file elsewhere in the place of a file of the run folder."""

    def link(folder: Path, elsewhere: Path) -> None:
        path, target = folder / name, elsewhere / Path(name).name
        target.write_text(path.read_text() if content == "same" else content)
        path.unlink()
        path.symlink_to(target)

    return link


def linked_folder(name: str) -> Callable[[Path, Path], None]:
    def link(folder: Path, elsewhere: Path) -> None:
        path = folder / name
        path.mkdir(exist_ok=True)
        shutil.copytree(path, elsewhere / "moved")
        remove(path)
        path.symlink_to(elsewhere / "moved")

    return link


LINKS = {
    "an image": linked("samples/study000.png"),
    "the list of samples": linked("samples/samples.json", "same"),
    "the samples": linked_folder("samples"),
    "the results": linked("results.csv", "same"),
    "the intervals": linked("intervals.csv", "same"),
    "the manifest": linked("manifest.json", "same"),
    "answers in the store": linked("base/seed0/evaluate/predictions.jsonl", "same"),
    "teachers' texts": linked("sft/seed0/collect/trajectories.jsonl", "same"),
    "preferred texts": linked("sft/seed0/self_distill/preferred.jsonl", "same"),
    "metrics": linked("sft/seed0/apo/metrics.jsonl", "same"),
    "a stage": linked_folder("base/seed0/evaluate"),
    "a seed": linked_folder("base/seed0"),
    "the figures": linked_folder("figures"),
}


@pytest.mark.parametrize("kind", LINKS)
def test_a_link_out_of_the_run_folder_is_named_and_not_followed(tmp_path: Path, kind: str) -> None:
    folder, elsewhere = run_folder(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    LINKS[kind](folder, elsewhere)
    before = sorted(elsewhere.rglob("*"))
    with pytest.raises(ArtifactError, match=r"leads out of the run folder and its store, .* Remove the link: rm "):
        reports.write(folder)
    assert not (folder / "report.html").exists() and sorted(elsewhere.rglob("*")) == before


def test_a_store_on_another_disk_is_the_store(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    (tmp_path / "runs" / "store").rename(tmp_path / "disk")
    (tmp_path / "runs" / "store").symlink_to(tmp_path / "disk")
    assert "study000" in reports.write(folder).read_text()


def test_an_image_path_in_a_foreign_list_breaks_no_markdown(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    rows = json.loads((folder / "samples" / "samples.json").read_text())
    name = "x) [y](http_evil).png"
    (folder / "samples" / rows[0]["image"]).rename(folder / "samples" / name)
    (folder / "samples" / "samples.json").write_text(json.dumps([{**rows[0], "image": name}]))
    reports.write(folder)
    assert "(samples/x%29%20%5By%5D%28http_evil%29.png)" in (folder / "report.md").read_text()


FORMULAS = (
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    " =1",
    "'=1",
    "''=1",
    "＝1+1",
    "|x",
    "%0A",
    "-no edema",
    "=",
)
PLAIN = ("-0.5", "+3", "1e-3", "edema", "'tis", "a=b", "", "APO [beta=1.0]", ".5")


def test_a_spreadsheet_computes_no_cell_and_nothing_is_lost() -> None:
    for text in FORMULAS:
        assert quoted(text) == f"'{text}" and unquoted(quoted(text)) == text
    for text in PLAIN:
        assert quoted(text) == unquoted(text) == text
    assert quoted(-1.5) == -1.5 and unquoted(None) is None


def test_a_list_of_what_cannot_be_used_computes_nothing_and_keeps_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "runs/unusable.tsv"
    report_bad([("=cmd|'/C calc'!A0", "is\tno\nimage"), ("s2", "-3 labels")], used=900, allowed=0.01, report_path=path)
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file, delimiter="\t")) == [["'=cmd|'/C calc'!A0", "is\tno\nimage"], ["s2", "'-3 labels"]]


def test_labels_and_studies_come_back_from_tables(tmp_path: Path) -> None:
    write_csv(tmp_path / "splits.csv", ("study", "patient", "split"), [("=s1", "@p", "train"), ("-2", "p", "val")])
    assert (tmp_path / "splits.csv").read_text().splitlines()[1:] == ["'=s1,'@p,train", "-2,p,val"]
    assert read_split_file(tmp_path / "splits.csv", Faults()) == {"=s1": "train", "-2": "val"}
    folder = run_folder(tmp_path)
    frame = pd.read_csv(folder / "results.csv").replace({"label": {"Base": "=1+1"}})
    write_csv(folder / "results.csv", list(frame), frame.itertuples(index=False))
    assert "'=1+1" in (folder / "results.csv").read_text()
    assert measured.load(folder).values["label"].iat[0] == "=1+1"
