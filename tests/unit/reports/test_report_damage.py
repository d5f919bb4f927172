"""A report over a damaged run folder shows nothing but what the run wrote, and says what is gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from apo_lightning import reports
from apo_lightning.cli import commands
from apo_lightning.errors import ArtifactError
from apo_lightning.experiment import results
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.files.atomic import remove
from apo_lightning.files.formats import write_json
from apo_lightning.hashing import contents, inventory
from apo_lightning.reports import measured
from tests.helpers import fake_run
from tests.helpers.damage import change, flip, keep, put, swap


def finished_run(tmp_path: Path) -> Path:
    """A run whose stages and tables are listed in their manifests."""
    folder = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=2)
    for place in (tmp_path / "runs" / "store").iterdir():
        record = {"inputs_sha256": place.name, "files": inventory.take(place)}
        write_json(place / "manifest.json", inventory.sealed(record))
        (place / "config.yaml").touch()
    record = json.loads((folder / "manifest.json").read_text())
    tables = [folder / f"{name}.csv" for name in ("results", "intervals", "differences")]
    files = inventory.take(folder, only=[*tables, *(folder / "samples").iterdir()])
    links = inventory.links(folder)
    write_json(folder / "manifest.json", inventory.sealed({**record, "files": files, "links": links}))
    return folder


GONE: dict[str, Callable[[str, Path], object]] = {
    "missing": lambda name, f: remove(f / name),
    "a folder": lambda name, f: (remove(f / name), (f / name).mkdir()),
    "a link to nowhere": lambda name, f: (remove(f / name), (f / name).symlink_to("gone")),
}
LISTED = ("intervals.csv", "differences.csv", "samples/samples.json")


def replaced(link: Path) -> None:
    """The store names the stage by its inputs; in its place another one, whole and with its own manifest."""
    inputs = "0" * 12
    stored = link.resolve().rename(link.resolve().with_name(f"evaluate-{inputs}"))
    remove(link)
    link.symlink_to(Path("../../../store") / stored.name)
    change(stored / "predictions.jsonl", "radiograph", "radiogram")
    write_json(stored / "manifest.json", inventory.sealed({"inputs_sha256": "1" * 64, "files": inventory.take(stored)}))
    run = link.parents[2]
    record = {k: v for k, v in json.loads((run / "manifest.json").read_text()).items() if k != inventory.SEAL}
    write_json(run / "manifest.json", inventory.sealed({**record, "links": inventory.links(run)}))


RUN_DAMAGE = {
    "a number of the table": lambda f: change(f / "results.csv", "0.6", "0.9"),
    "a row of the intervals": lambda f: keep(f / "intervals.csv", 0.9),
    "the differences": lambda f: flip(f / "differences.csv"),
    "images are swapped": lambda f: swap(f / "samples/study000.png", f / "samples/study001.png"),
    "an image is missing": lambda f: remove(f / "samples/study000.png"),
    "truth of a sample": lambda f: change(f / "samples/samples.json", ": 1", ": 0"),
    "the manifest": lambda f: change(f / "manifest.json", "5d34990", "5d34991"),
    "an answer": lambda f: change(f / "base/seed0/evaluate/predictions.jsonl", "radiograph", "radiogram"),
    "answers are missing": lambda f: remove(f / "base/seed0/evaluate/predictions.jsonl"),
    "a teacher's text": lambda f: change(f / "sft/seed0/collect/trajectories.jsonl", "Step 1", "Step 9"),
    "teachers' texts are missing": lambda f: remove(f / "sft/seed0/collect/trajectories.jsonl"),
    "a preferred text": lambda f: change(f / "sft/seed0/self_distill/preferred.jsonl", "Most", "Some"),
    "two arms' answers are swapped": lambda f: swap(f / "base/seed0/evaluate", f / "sft/seed0/evaluate"),
    "a copy of another arm's answers": lambda f: (
        remove(f / "base/seed0/evaluate"),
        shutil.copytree(f / "sft/seed0/evaluate", f / "base/seed0/evaluate"),
    ),
    "a curve": lambda f: flip(f / "sft/seed0/spd/metrics.jsonl"),
    "a stage of another seed under its name": lambda f: replaced(f / "base/seed0/evaluate"),
    **{f"{name} is {how}": partial(damage, name) for name in LISTED for how, damage in GONE.items()},
    "a stage's manifest is missing": lambda f: remove(f / "base/seed0/evaluate/manifest.json"),
    "a stage's manifest": lambda f: put(f / "base/seed0/evaluate/manifest.json", b"{"),
}


@pytest.mark.parametrize("kind", RUN_DAMAGE)
def test_a_report_shows_nothing_that_was_damaged(tmp_path: Path, kind: str) -> None:
    folder = finished_run(tmp_path)
    RUN_DAMAGE[kind](folder)
    with pytest.raises(ArtifactError, match=r"rm "):
        reports.write(folder)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("how", GONE)
def test_a_lost_curve_is_said_and_costs_no_training(tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str) -> None:
    folder = finished_run(tmp_path)
    GONE[how]("sft/seed0/spd/metrics.jsonl", folder)
    reports.write(folder)
    said = "metrics.jsonl is gone, and its curve is left out"
    assert said in caplog.text and said in (folder / "report.html").read_text("utf-8")


def settled_run(tmp_path: Path) -> Path:
    """With its settings and its split, and the manifest that `RunFolder` writes."""
    folder = finished_run(tmp_path)
    cfg = {"name": "fake", "seeds": [0], "acknowledge": [], "lr": 1e-4, "data": {"name": "x", "none": None, "n": 1.0}}
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(cfg)))
    (folder / "splits.csv").write_text("study,patient,split\ns1,p1,test\ns2,p2,test\n")
    facts = {"splits_sha256": contents.file_digest(folder / "splits.csv")}
    RunFolder(folder.parent, folder.name).finish(cfg, data=facts)
    return folder


BESIDE: dict[str, tuple[Callable[[Path], object], str]] = {
    "split cut off": (lambda f: keep(f / "splits.csv", 0.7), "splits.csv is not what the run wrote"),
    "a bit of the split": (lambda f: flip(f / "splits.csv"), "splits.csv is not what the run wrote"),
    "no split": (lambda f: remove(f / "splits.csv"), "splits.csv is missing"),
    "a folder for the split": (
        lambda f: (remove(f / "splits.csv"), (f / "splits.csv").mkdir()),
        "splits.csv is no file",
    ),
    "settings cut off": (lambda f: keep(f / "config.yaml", 0.6), "config.yaml is not what the run wrote"),
    "settings of no bytes": (lambda f: put(f / "config.yaml", b""), "config.yaml is not what the run wrote"),
    "no YAML": (lambda f: put(f / "config.yaml", b"a: ["), "config.yaml is not what the run wrote"),
    "a setting": (lambda f: change(f / "config.yaml", "lr: 0.0001", "lr: 0.0002"), "config.yaml is not what the run"),
    "no settings": (lambda f: remove(f / "config.yaml"), "config.yaml is missing"),
    "no manifest": (lambda f: remove(f / "manifest.json"), "manifest.json is missing, so that it is unknown whether"),
}


@pytest.mark.parametrize("kind", BESIDE)
def test_what_spoils_no_number_is_said_in_the_report_and_on_the_terminal(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports.drawing, "draw", lambda *_: [])
    folder = settled_run(tmp_path)
    change(folder / "config.yaml", "acknowledge: []", "acknowledge: [x]")  # as a later run may
    report = reports._gather(folder)
    assert not [note for note in report.notes if "is missing" in note or "not what" in note] and not caplog.text
    damage, says = BESIDE[kind]
    damage(folder)
    report = reports._gather(folder)
    [note] = [note for note in report.notes if says in note]
    assert note in caplog.text and "Run the experiment 'fake' again" in note


def test_what_lies_in_the_place_of_the_table_is_named(tmp_path: Path) -> None:
    for number, (make, says) in enumerate(
        ((Path.mkdir, "is a folder"), (lambda path: path.symlink_to("gone"), "is no file"))
    ):
        path = tmp_path / f"run{number}" / "results.csv"
        path.parent.mkdir()
        with pytest.raises(ArtifactError, match=r"results\.csv does not exist\. Finish the experiment"):
            measured.load(path.parent)
        make(path)
        with pytest.raises(ArtifactError, match=rf"{says}, so there is no table.*\(rm (-r )?{path}\)"):
            measured.load(path.parent)


def test_a_whole_run_is_reported_and_a_stage_that_is_gone_is_named(tmp_path: Path) -> None:
    folder = finished_run(tmp_path)
    reports.write(folder)
    shutil.rmtree((folder / "sft/seed0/apo").resolve())
    reports.write(folder)
    text = (folder / "report.md").read_text()
    assert "1 stages are not in the store any more, so without their texts and curves: sft seed 0: apo." in text


def test_an_arm_that_is_gone_is_told_and_a_damaged_one_is_no_row(tmp_path: Path, capsys) -> None:
    folder = finished_run(tmp_path)
    for name in ("base", "sft"):
        place = folder / name / "seed0" / "evaluate"
        write_json(place / "scores.json", [])
        write_json(place / "manifest.json", inventory.sealed({"inputs_sha256": "", "files": inventory.take(place)}))

    def found() -> list[int]:
        stored = (results._stored(folder, arm, "evaluate", "scores.json") for arm in ("base", "sft"))
        return [seed for own in stored for seed, _ in own]

    assert found() == [0, 0] and capsys.readouterr().out == ""
    swap(folder / "base/seed0/evaluate", folder / "sft/seed0/evaluate")
    with pytest.raises(ArtifactError, match=r"base/seed0/evaluate leads to evaluate-sft0, and led to evaluate-base0"):
        found()
    assert list(results._stored(folder, "base", "evaluate", "scores.json", now=[0]))
    swap(folder / "base/seed0/evaluate", folder / "sft/seed0/evaluate")
    remove((folder / "base/seed0/evaluate/scores.json").resolve())
    with pytest.raises(ArtifactError, match=r"scores\.json is missing, so nothing is read from this stage"):
        found()
    shutil.rmtree((folder / "base/seed0/evaluate").resolve())
    assert found() == [0]
    said = " ".join(capsys.readouterr().out.split())
    assert "Left out of the table: base seed 0" in said and "only=[base] seeds=[0]" in said


def test_an_audit_of_damaged_texts_is_refused(tmp_path: Path, capsys) -> None:
    folder = finished_run(tmp_path)
    path = folder / "sft/seed0/self_distill/preferred.jsonl"
    assert commands.main(["audit", str(path)]) == 0
    change(path, "Most", "Some")
    assert commands.main(["audit", str(path)]) == 2
    assert "its content is not what was written" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tests.csv", "agreement.csv", "failures.json"])
def test_tests_agreement_and_warnings_are_held_to_what_the_run_wrote(name: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "x")
    run.path.mkdir(parents=True)
    head = "arm,against,metric,finding,test,n,statistic,p,p_holm\n"
    content = {"tests.csv": head, "agreement.csv": "arm,finding,kappa,low,high,seeds,studies\n", "failures.json": "[]"}
    for each, text in content.items():
        (run.path / each).write_text(text)
    run.finish({"name": "x", "seeds": [0]})
    assert name in json.loads((run.path / "manifest.json").read_text())["files"]
    flip(run.path / name)
    assert inventory.difference(run.path / name)


def samples_with(report: object, folder: Path) -> None:
    path = folder / "samples/samples.json"
    write_json(path, [{**json.loads(path.read_text())[0], "report": report}])


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (partial(samples_with, ["a list"]), "samples.json"),
        (lambda f: change(f / "samples/samples.json", '"findings": {', '"findings": 3, "x": {'), "samples.json"),
        (lambda f: put(f / "drift.json", b'{"version": 1}'), "drift.json"),
        (lambda f: put(f / "drift.json", b'{"version": 1, "pairs": 3, "teachers": []}'), "drift.json"),
    ],
)
def test_content_of_another_shape_is_a_fault_of_its_file_though_a_manifest_vouches_for_it(
    tmp_path: Path, spoil: Callable[[Path], None], name: str
) -> None:
    folder = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=2)
    reports.write(folder)
    spoil(folder)
    with pytest.raises(ArtifactError, match=rf"{name} does not hold what a run writes there \(.*rm "):
        reports.write(folder)
