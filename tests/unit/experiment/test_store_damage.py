"""Every kind of damage to a store is told, with the file and the command that mends it, or mended, or changes nothing.

``tests/pipeline/test_damaged.py`` does the same to whole runs, file by file.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from apo_lightning.errors import ArtifactError
from apo_lightning.experiment.stage_files import read_preferred, read_rows, read_scores
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.files import jsonlines
from apo_lightning.files.atomic import remove
from apo_lightning.files.formats import write_json
from apo_lightning.hashing import contents, inventory
from apo_lightning.models import saved
from apo_lightning.trajectories import records
from tests.helpers.damage import change, flip, keep, put, swap

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


def manifest(folder: Path, **facts: object) -> None:
    """The manifest with other facts, its seal as it was; None takes one out."""
    record = json.loads((folder / "manifest.json").read_text()) | facts
    (folder / "manifest.json").write_text(json.dumps({k: v for k, v in record.items() if v is not None}))


def hidden(folder: Path) -> None:
    """Damage whose hash somebody has put into the manifest."""
    flip(folder / ADAPTER)
    record = json.loads((folder / "manifest.json").read_text())
    record["files"][ADAPTER]["sha256"] = contents.content_digest(folder / ADAPTER)
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
        "spd",
        lambda f: (remove(f / ADAPTER), (f / ADAPTER).symlink_to(stage(f.parent, "apo").path / ADAPTER)),
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
        "spd",
        lambda f: ((f / "notes.txt").touch(), (f / ".DS_Store").touch(), (f / "student/.DS_Store").touch()),
        "harmless",
    ),
    "an adapter on another disk": Kind(
        "spd",
        lambda f: ((f / ADAPTER).rename(f.parent / "disk"), (f / ADAPTER).symlink_to(f.parent / "disk")),
        "harmless",
    ),
}


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
    monkeypatch.setattr(contents, "SETTLED", -1.0)
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
    "collect": lambda f: records.read(f / "trajectories.jsonl"),
    "spd": lambda f: saved.read_record(f / STUDENT),
    "apo": lambda f: saved.read_record(f / STUDENT),
    "self_distill": lambda f: read_preferred(f / "preferred.jsonl"),
    "evaluate": lambda f: (
        read_scores(f / "scores.json"),
        read_rows(f / "predictions.jsonl"),
        read_rows(f / "likelihoods.jsonl"),
    ),
    "base_evaluate": lambda f: read_rows(f / "likelihoods.jsonl"),
}


TOLD = [kind for kind, own in KINDS.items() if own.ends == "told" and "another" not in own.names]
"""A reader of one file does not know for which settings it was to be made."""


@pytest.mark.parametrize("kind", TOLD)
def test_who_reads_past_the_pipeline_is_told_too(root: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_no_reading(monkeypatch)
    monkeypatch.setattr(saved, "_require_tensors", lambda *a: None)
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
    monkeypatch.setattr(contents, "SETTLED", -1.0)
    assert stage(root, "spd").done
    known = json.loads((root / "digests.json").read_text())
    assert any(ADAPTER in key for key in known)
    (root / "digests.json").write_text(json.dumps({key: {**entry, "sha256": "0"} for key, entry in known.items()}))
    assert stage(root, "spd").done


def test_a_large_file_is_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    plain = contents.content_digest
    monkeypatch.setattr(inventory, "content_digest", lambda path: read.append(path) or plain(path))
    monkeypatch.setattr(inventory, "LARGE", 1000)
    monkeypatch.setattr(contents, "SETTLED", -1.0)
    assert stage(root, "spd").done and read.count(stage(root, "spd").path / ADAPTER) == 1
    read.clear()
    assert stage(root, "spd").done and stage(root, "spd").path / ADAPTER not in read


# run folders, as reports and tables read them


def test_manifests_of_others_say_nothing_of_our_files(tmp_path: Path) -> None:
    jsonlines.write(tmp_path / "trajectories.jsonl", [{"study": "s", "teacher": "t", "text": "x"}])
    for content in ('{"files": ["trajectories.jsonl"]}', "[1]", "{", '{"files": {"trajectories.jsonl": {"bytes": 1}}}'):
        (tmp_path / "manifest.json").write_text(content)
        assert len(records.read(tmp_path / "trajectories.jsonl")) == 1
