"""Hashes, atomic writes, and folders that refuse another configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from apo_lightning.artifacts import RunFolder, StageFolder, differences, file_digest, read_jsonl, write_text
from apo_lightning.errors import ArtifactError


def test_a_stage_is_done_only_after_finish_and_only_for_its_inputs(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path, "spd", {"lr": 1.0})
    assert not folder.begin().done
    assert folder.finish(studies=3).done
    assert StageFolder(tmp_path, "spd", {"lr": 1.0}).done
    assert not StageFolder(tmp_path, "spd", {"lr": 2.0}).done
    assert folder.manifest()["studies"] == 3


def test_a_stage_folder_of_other_inputs_is_refused(tmp_path: Path) -> None:
    mine = StageFolder(tmp_path, "spd", {"lr": 1.0}).begin().finish()
    other = StageFolder(tmp_path, "spd", {"lr": 2.0}).begin()
    write_text(other.path / "manifest.json", (mine.path / "manifest.json").read_text())
    with pytest.raises(ArtifactError, match=r"was made by another configuration.*Remove it"):
        _ = other.done
    write_text(other.path / "manifest.json", "{")
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
        _ = other.done


def test_links_are_relative_and_replaced(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "x")
    for lr in (1.0, 2.0):
        run.link("arm", 0, run.stage("spd", {"lr": lr}).begin().finish())
    link = tmp_path / "x" / "arm" / "seed0" / "spd"
    assert not link.readlink().is_absolute()
    assert link.resolve() == run.stage("spd", {"lr": 2.0}).path.resolve()


def test_file_digest_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    one = file_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    two = file_digest(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({one, two, file_digest(tmp_path)}) == 3


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = write_text(tmp_path / "a.json", "old")
    monkeypatch.setattr(Path, "replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_text(target, "new")
    assert target.read_text() == "old"


def test_damaged_rows_are_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a"')
    with pytest.raises(ArtifactError, match=r"rows\.jsonl is missing or damaged"):
        read_jsonl(tmp_path / "rows.jsonl")


def test_differences_ignore_what_only_adds_rows() -> None:
    assert differences({"seeds": [0], "a": {"b": 1, "c": 2}}, {"seeds": [1], "a": {"b": 1}}) == [("a.c", 2, None)]
