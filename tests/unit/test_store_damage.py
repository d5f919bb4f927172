"""Every kind of damage to a store is told, with the file and the command that mends it, or mended, or changes nothing.

``tests/pipeline/test_damaged.py`` does the same to whole runs, file by file.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from apo_lightning import cli, config, digests, inventory, jsonlines, reports, results, saved_students, trajectory_files
from apo_lightning.artifacts import RunFolder, StageFolder, write_json
from apo_lightning.errors import ArtifactError
from apo_lightning.files import remove
from apo_lightning.reports import measured
from apo_lightning.stage_files import read_preferred, read_rows, read_scores
from tests.helpers import fake_run

STUDENT, ADAPTER = "student", "student/adapters/0/adapter_model.safetensors"
STAGES = ("collect", "spd", "self_distill", "apo", "evaluate", "base_evaluate")


def stage(root: Path, name: str) -> StageFolder:
    return StageFolder(root, name.removeprefix("base_"), {"made": name})


def finish(root: Path, name: str) -> None:
    folder = stage(root, name).begin()
    if name == "collect":
        texts = [{"study": f"s{i}", "teacher": t, "text": f"No edema {i}."} for i in range(12) for t in ("a", "b")]
        jsonlines.write(folder.path / "trajectories.jsonl", texts)
    if name == "self_distill":
        texts = [{"study": f"s{i}", "text": f"Edema {i}.", "cut": False} for i in range(48)]
        jsonlines.write(folder.path / "preferred.jsonl", texts)
    if name in ("spd", "apo"):
        write_json(folder.path / STUDENT / "student.json", {"model": "nano", "kind": "lora"})
        for number in range(1 if name == "spd" else 2):
            place = folder.path / STUDENT / "adapters" / str(number)
            write_json(place / "adapter_config.json", {"lora_alpha": 16, "of": name})
            (place / "adapter_model.safetensors").write_bytes(f"{name} {number} ".encode() * 300)
        jsonlines.write(folder.path / "metrics.jsonl", [{"step": 1, "train/loss": 0.5}])
    if name.endswith("evaluate"):
        answers = [{"study": f"s{i}", "text": "No edema.", "truth": {"edema": 0}} for i in range(9)]
        jsonlines.write(folder.path / "predictions.jsonl", answers)
        write_json(folder.path / "scores.json", [["accuracy", "mean", 0.5]])
    if name == "evaluate":
        jsonlines.write(folder.path / "likelihoods.jsonl", [{"study": "s1", "preferred": -1.0}])
    folder.finish(studies=48)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in STAGES:
        finish(tmp_path / "store", name)
    return tmp_path / "store"


def put(path: Path, content: bytes) -> None:
    remove(path)
    path.write_bytes(content)


def flip(path: Path) -> None:
    """One bit, at the old size and times."""
    content, at = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))


def keep(path: Path, share: float) -> None:
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(rows[: int(len(rows) * share)]))


def swap(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def manifest(folder: Path, **facts: object) -> None:
    """The manifest with other facts, its seal as it was; None takes one out."""
    record = json.loads((folder / "manifest.json").read_text()) | facts
    (folder / "manifest.json").write_text(json.dumps({k: v for k, v in record.items() if v is not None}))


def hidden(folder: Path) -> None:
    """Damage whose hash somebody has put into the manifest."""
    flip(folder / ADAPTER)
    record = json.loads((folder / "manifest.json").read_text())
    record["files"][ADAPTER]["sha256"] = digests.content_digest(folder / ADAPTER)
    (folder / "manifest.json").write_text(json.dumps(record))


def unreadable(path: Path) -> None:
    path.chmod(0)


@dataclass(frozen=True)
class Kind:
    """One kind of damage: to which stage, what is done, and how it ends.

    ``told``: nothing is read, and the error names the file; ``made again``: the stage counts as unfinished;
    ``harmless``: nothing that is read has changed.
    """

    stage: str
    damage: Callable[[Path], object]
    ends: str = "told"
    names: str = ""


KINDS = {
    # the student
    "the adapters' folder is missing": Kind("spd", lambda f: remove(f / "student/adapters"), names="adapters"),
    "an adapter is missing": Kind("spd", lambda f: remove(f / "student/adapters/0"), names="adapters/0"),
    "the last adapter of two is missing": Kind("apo", lambda f: remove(f / "student/adapters/1"), names="adapters/1"),
    "the student is missing": Kind("spd", lambda f: remove(f / STUDENT), names="student"),
    "a flipped bit in an adapter": Kind("spd", lambda f: flip(f / ADAPTER), names=ADAPTER),
    "an adapter is cut off": Kind("spd", lambda f: put(f / ADAPTER, (f / ADAPTER).read_bytes()[:900]), names=ADAPTER),
    "an adapter of no bytes": Kind("spd", lambda f: put(f / ADAPTER, b""), names=ADAPTER),
    "an adapter of zeros": Kind("spd", lambda f: put(f / ADAPTER, bytes(1800)), names=ADAPTER),
    "an adapter is a folder": Kind("spd", lambda f: (remove(f / ADAPTER), (f / ADAPTER).mkdir()), names=ADAPTER),
    "an adapter is a link to nowhere": Kind(
        "spd", lambda f: (remove(f / ADAPTER), (f / ADAPTER).symlink_to("gone")), names=ADAPTER
    ),
    "an adapter is a link to itself": Kind(
        "spd", lambda f: (remove(f / ADAPTER), (f / ADAPTER).symlink_to((f / ADAPTER).name)), names=ADAPTER
    ),
    "an adapter is a link to another stage's": Kind(
        "spd", lambda f: (remove(f / ADAPTER), (f / ADAPTER).symlink_to(stage(f.parent, "apo").path / ADAPTER)),
        names=ADAPTER,
    ),
    "an adapter is a pipe": Kind("spd", lambda f: (remove(f / ADAPTER), os.mkfifo(f / ADAPTER)), names=ADAPTER),
    "adapters of two stages are swapped": Kind(
        "spd", lambda f: swap(f / ADAPTER, stage(f.parent, "apo").path / ADAPTER), names=ADAPTER
    ),
    "adapters of one student are swapped": Kind(
        "apo", lambda f: swap(f / "student/adapters/0", f / "student/adapters/1"), names="adapters/0"
    ),
    "an adapter's scale was changed": Kind(
        "spd", lambda f: change(f / "student/adapters/0/adapter_config.json", "16", "61"), names="adapter_config.json"
    ),
    "an adapter's configuration is missing": Kind(
        "spd", lambda f: remove(f / "student/adapters/0/adapter_config.json"), names="adapter_config.json"
    ),
    "another base model": Kind("spd", lambda f: change(f / "student/student.json", "nano", "mine"), names="student"),
    "one adapter more": Kind(
        "spd", lambda f: shutil.copytree(f / "student/adapters/0", f / "student/adapters/1"), names="adapters/1"
    ),
    "one adapter more, as a link": Kind(
        "spd", lambda f: (f / "student/adapters/1").symlink_to("0"), names="adapters/1"
    ),
    "a pickle beside the tensors": Kind(
        "spd", lambda f: (f / "student/adapters/0/adapter_model.bin").write_bytes(b"x"), names="adapter_model.bin"
    ),
    "whole weights beside adapters": Kind(
        "spd", lambda f: write_json(f / "student/weights/config.json", {}), names="weights"
    ),
    # texts
    "20 of 48 preferred texts": Kind("self_distill", lambda f: keep(f / "preferred.jsonl", 20 / 48), names="preferred"),
    "preferred texts in another order": Kind(
        "self_distill",
        lambda f: put(f / "preferred.jsonl", b"".join(sorted((f / "preferred.jsonl").open("rb"), reverse=True))),
        names="preferred",
    ),
    "one letter of a preferred text": Kind(
        "self_distill", lambda f: change(f / "preferred.jsonl", "Edema 7", "Edema 8"), names="preferred"
    ),
    "preferred texts are missing": Kind("self_distill", lambda f: remove(f / "preferred.jsonl"), names="preferred"),
    "preferred texts of no bytes": Kind("self_distill", lambda f: put(f / "preferred.jsonl", b""), names="preferred"),
    "a preferred text stands twice": Kind(
        "self_distill",
        lambda f: put(f / "preferred.jsonl", (f / "preferred.jsonl").read_bytes() + b'{"study": "s1", "text": "x"}\n'),
        names="preferred",
    ),
    "preferred texts are the teachers'": Kind(
        "self_distill",
        lambda f: put(f / "preferred.jsonl", (stage(f.parent, "collect").path / "trajectories.jsonl").read_bytes()),
        names="preferred",
    ),
    "changed trajectories": Kind(
        "collect", lambda f: change(f / "trajectories.jsonl", "No edema 3", "An edema 3"), names="trajectories"
    ),
    "trajectories of a teacher are missing": Kind(
        "collect", lambda f: keep(f / "trajectories.jsonl", 0.5), names="trajectories"
    ),
    "trajectories are missing": Kind("collect", lambda f: remove(f / "trajectories.jsonl"), names="trajectories"),
    "preferred texts among the trajectories": Kind(
        "collect", lambda f: jsonlines.write(f / "preferred.jsonl", []), names="preferred"
    ),
    "no permission to read": Kind("collect", lambda f: unreadable(f / "trajectories.jsonl"), names="trajectories"),
    # evaluations
    "scores are missing": Kind("evaluate", lambda f: remove(f / "scores.json"), names="scores"),
    "a score was changed": Kind("evaluate", lambda f: change(f / "scores.json", "0.5", "0.9"), names="scores"),
    "scores are a folder": Kind(
        "evaluate", lambda f: (remove(f / "scores.json"), (f / "scores.json").mkdir()), names="scores"
    ),
    "answers are missing": Kind("evaluate", lambda f: remove(f / "predictions.jsonl"), names="predictions"),
    "a third of the answers": Kind("evaluate", lambda f: keep(f / "predictions.jsonl", 1 / 3), names="predictions"),
    "a label of an answer": Kind(
        "evaluate", lambda f: change(f / "predictions.jsonl", '"edema": 0', '"edema": 1'), names="predictions"
    ),
    "likelihoods are missing": Kind("evaluate", lambda f: remove(f / "likelihoods.jsonl"), names="likelihoods"),
    "likelihoods where there were none": Kind(
        "base_evaluate", lambda f: jsonlines.write(f / "likelihoods.jsonl", []), names="likelihoods"
    ),
    # manifests and folders
    "no manifest": Kind("spd", lambda f: remove(f / "manifest.json"), "made again"),
    "a manifest of no bytes": Kind("spd", lambda f: put(f / "manifest.json", b""), names="manifest.json"),
    "a manifest of zeros": Kind("spd", lambda f: put(f / "manifest.json", bytes(99)), names="manifest.json"),
    "a manifest that is cut off": Kind(
        "spd", lambda f: put(f / "manifest.json", (f / "manifest.json").read_bytes()[:200]), names="manifest.json"
    ),
    "a manifest that lists nothing": Kind("spd", lambda f: manifest(f, files={}), names="manifest.json"),
    "a manifest without its list": Kind("spd", lambda f: manifest(f, files=None), names="manifest.json"),
    "a list that is none": Kind("spd", lambda f: manifest(f, files=["student"]), names="manifest.json"),
    "a list that is none, without a seal": Kind(
        "spd", lambda f: manifest(f, files={"student": 3}, manifest_sha256=None), names="manifest.json"
    ),
    "nothing listed, without a seal": Kind("spd", lambda f: manifest(f, files={}, manifest_sha256=None), names=STUDENT),
    "the hash of the damage in the manifest": Kind("spd", hidden, names="manifest.json"),
    "a fact of the manifest": Kind("spd", lambda f: manifest(f, studies=20), names="manifest.json"),
    "the manifest of another stage": Kind(
        "spd", lambda f: shutil.copy(stage(f.parent, "apo").path / "manifest.json", f), names="another configuration"
    ),
    "two stages are swapped": Kind(
        "spd", lambda f: swap(f, stage(f.parent, "apo").path), names="another configuration"
    ),
    "an unsealed manifest and a flipped bit": Kind(
        "spd", lambda f: (manifest(f, manifest_sha256=None), flip(f / ADAPTER)), names=ADAPTER
    ),
    "a manifest of an earlier version": Kind(
        "spd", lambda f: manifest(f, files=None, manifest_sha256=None), "harmless", "which kept no hashes"
    ),
    "a file in the folder's place": Kind("spd", lambda f: put(f, b"x"), "made again"),
    "a link to nowhere in the folder's place": Kind("spd", lambda f: (remove(f), f.symlink_to("gone")), "made again"),
    # what no result is made of
    "the stage's own record of settings": Kind("spd", lambda f: put(f / "config.yaml", b"x"), "harmless"),
    "metrics are missing": Kind("spd", lambda f: remove(f / "metrics.jsonl"), "harmless", "metrics.jsonl is missing"),
    "metrics are a folder": Kind(
        "spd", lambda f: (remove(f / "metrics.jsonl"), (f / "metrics.jsonl").mkdir()), "harmless", "is no file any more"
    ),
    "a stage of other inputs under its name": Kind(
        "evaluate", lambda f: manifest(f, inputs_sha256="1" * 64, manifest_sha256=None), names="another configuration"
    ),
    "metrics": Kind("spd", lambda f: change(f / "metrics.jsonl", "0.5", "0.1"), "harmless"),
    "notes and files of the desktop": Kind(
        "spd", lambda f: ((f / "notes.txt").touch(), (f / ".DS_Store").touch(), (f / "student/.DS_Store").touch()),
        "harmless",
    ),
    "an adapter on another disk": Kind(
        "spd", lambda f: ((f / ADAPTER).rename(f.parent / "disk"), (f / ADAPTER).symlink_to(f.parent / "disk")),
        "harmless",
    ),
}  # fmt: skip


def allow_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions hold for root, who may run the tests, too."""
    plain = Path.open

    def guarded(self: Path, *args, **kwargs):
        if self.exists() and self.stat().st_mode & 0o777 == 0:
            raise PermissionError(13, "Permission denied", str(self))
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", guarded)


def test_at_least_45_kinds_are_tried() -> None:
    assert len(KINDS) >= 45


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("large", [False, True], ids=["hashed", "remembered"])
def test_damage_is_told_or_mended(
    root: Path, kind: str, large: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Large files, whose hashes are remembered, are no exception."""
    monkeypatch.setattr(inventory, "LARGE", 0 if large else 1 << 30)
    monkeypatch.setattr(digests, "SETTLED", -1.0)
    allow_no_reading(monkeypatch)
    inventory._tell_unchecked.cache_clear()
    own = KINDS[kind]
    folder = stage(root, own.stage)
    assert folder.done
    own.damage(folder.path)
    if own.ends == "told":
        with pytest.raises(ArtifactError, match=own.names) as caught:
            _ = folder.done
        assert f"rm -r {folder.path}" in str(caught.value)
        remove(folder.path)
        finish(root, own.stage)
        assert folder.done
    elif own.ends == "made again":
        assert not folder.done
        if folder.path.is_dir():
            assert [path.name for path in folder.begin().path.iterdir() if path.name in inventory.OUTPUTS] == []
        else:
            with pytest.raises(ArtifactError, match=r"is no folder\. Remove it and run again: rm "):
                folder.begin()
    else:
        assert folder.done and own.names in caplog.text


READERS = {
    "collect": lambda f: trajectory_files.read(f / "trajectories.jsonl"),
    "spd": lambda f: saved_students.read_record(f / STUDENT),
    "apo": lambda f: saved_students.read_record(f / STUDENT),
    "self_distill": lambda f: read_preferred(f / "preferred.jsonl"),
    "evaluate": lambda f: (
        read_scores(f / "scores.json"), read_rows(f / "predictions.jsonl"), read_rows(f / "likelihoods.jsonl")
    ),
    "base_evaluate": lambda f: read_rows(f / "likelihoods.jsonl"),
}  # fmt: skip


TOLD = [kind for kind, own in KINDS.items() if own.ends == "told" and "another" not in own.names]
"""A reader of one file does not know for which settings it was to be made."""


@pytest.mark.parametrize("kind", TOLD)
def test_who_reads_past_the_pipeline_is_told_too(root: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_no_reading(monkeypatch)
    monkeypatch.setattr(saved_students, "_require_tensors", lambda *a: None)
    own = KINDS[kind]
    folder = stage(root, own.stage).path
    if own.stage != "base_evaluate":
        READERS[own.stage](folder)
    if kind == "preferred texts among the trajectories":
        folder, own = folder / "preferred.jsonl", Kind("self_distill", own.damage)
    own.damage(stage(root, KINDS[kind].stage).path)
    with pytest.raises(ArtifactError, match="rm "):
        READERS[own.stage](folder if folder.is_dir() else folder.parent)


def test_a_hash_that_is_remembered_is_not_trusted_with_a_verdict(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged memory costs a reading, and no stage."""
    monkeypatch.setattr(inventory, "LARGE", 0)
    monkeypatch.setattr(digests, "SETTLED", -1.0)
    assert stage(root, "spd").done
    known = json.loads((root / "digests.json").read_text())
    assert any(ADAPTER in key for key in known)
    (root / "digests.json").write_text(json.dumps({key: {**entry, "sha256": "0"} for key, entry in known.items()}))
    assert stage(root, "spd").done


def test_a_large_file_is_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    plain = digests.content_digest
    monkeypatch.setattr(inventory, "content_digest", lambda path: read.append(path) or plain(path))
    monkeypatch.setattr(inventory, "LARGE", 1000)
    monkeypatch.setattr(digests, "SETTLED", -1.0)
    assert stage(root, "spd").done and read.count(stage(root, "spd").path / ADAPTER) == 1
    read.clear()
    assert stage(root, "spd").done and stage(root, "spd").path / ADAPTER not in read


# run folders, as reports and tables read them


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
    (folder / "config.yaml").write_text(config.OmegaConf.to_yaml(config.OmegaConf.create(cfg)))
    (folder / "splits.csv").write_text("study,patient,split\ns1,p1,test\ns2,p2,test\n")
    facts = {"splits_sha256": digests.file_digest(folder / "splits.csv")}
    RunFolder(folder.parent, folder.name).finish(cfg, data=facts)
    return folder


BESIDE: dict[str, tuple[Callable[[Path], object], str]] = {
    "split cut off": (lambda f: keep(f / "splits.csv", 0.7), "splits.csv is not what the run wrote"),
    "a bit of the split": (lambda f: flip(f / "splits.csv"), "splits.csv is not what the run wrote"),
    "no split": (lambda f: remove(f / "splits.csv"), "splits.csv is missing"),
    "a folder for the split": (
        lambda f: (remove(f / "splits.csv"), (f / "splits.csv").mkdir()), "splits.csv is no file"
    ),
    "settings cut off": (lambda f: keep(f / "config.yaml", 0.6), "config.yaml is not what the run wrote"),
    "settings of no bytes": (lambda f: put(f / "config.yaml", b""), "config.yaml is not what the run wrote"),
    "no YAML": (lambda f: put(f / "config.yaml", b"a: ["), "config.yaml is not what the run wrote"),
    "a setting": (lambda f: change(f / "config.yaml", "lr: 0.0001", "lr: 0.0002"), "config.yaml is not what the run"),
    "no settings": (lambda f: remove(f / "config.yaml"), "config.yaml is missing"),
    "no manifest": (lambda f: remove(f / "manifest.json"), "manifest.json is missing, so that it is unknown whether"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BESIDE)
def test_what_spoils_no_number_is_said_in_the_report_and_on_the_terminal(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for drawing in ("accuracy_bars", "radar", "reward_curves", "spd_curve", "png"):
        monkeypatch.setattr(reports.figures, drawing, lambda *_: b"")
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
    assert cli.main(["audit", str(path)]) == 0
    change(path, "Most", "Some")
    assert cli.main(["audit", str(path)]) == 2
    assert "its content is not what was written" in capsys.readouterr().err


def test_manifests_of_others_say_nothing_of_our_files(tmp_path: Path) -> None:
    jsonlines.write(tmp_path / "trajectories.jsonl", [{"study": "s", "teacher": "t", "text": "x"}])
    for content in ('{"files": ["trajectories.jsonl"]}', "[1]", "{", '{"files": {"trajectories.jsonl": {"bytes": 1}}}'):
        (tmp_path / "manifest.json").write_text(content)
        assert len(trajectory_files.read(tmp_path / "trajectories.jsonl")) == 1
