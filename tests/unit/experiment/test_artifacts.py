"""Hashes, atomic writes, and folders that refuse another configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from apo_lightning.errors import ArtifactError
from apo_lightning.experiment import stage_folder
from apo_lightning.experiment.run_folder import RunFolder, differences
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.files.atomic import write_text
from apo_lightning.files.jsonlines import read as read_jsonl
from apo_lightning.hashing import inventory
from apo_lightning.hashing.contents import file_digest


def test_a_stage_is_done_only_after_finish_and_only_for_its_inputs(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path, "spd", {"lr": 1.0})
    assert not folder.begin().done
    assert folder.finish(studies=3).done
    assert StageFolder(tmp_path, "spd", {"lr": 1.0}).done
    assert not StageFolder(tmp_path, "spd", {"lr": 2.0}).done
    assert inventory.read(folder.path)["studies"] == 3


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


@pytest.mark.parametrize("name", ["checkpoints", "parts"])
def test_an_unfinished_stage_clears_what_is_in_its_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    folder = StageFolder(tmp_path, "spd", {"lr": 1.0}).begin()
    (folder.path / name).write_text("a file")
    for other in ("config.yaml", "metrics.jsonl"):
        (folder.path / other).unlink(missing_ok=True)
        (folder.path / other).mkdir()
    (folder.path / f".{name}.1234abcd.tmp").write_text("half")
    folder.begin()
    assert [path.name for path in folder.path.iterdir()] == ["config.yaml"]
    assert (folder.path / "config.yaml").read_text() == "lr: 1.0\n"
    assert f"{folder.path / name} is no folder: it is made anew" in caplog.text


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_something_else_under_a_stages_name_is_refused(tmp_path: Path, kind: str) -> None:
    folder = StageFolder(tmp_path, "spd", {"lr": 1.0})
    folder.path.write_text("x") if kind == "file" else folder.path.symlink_to("gone")
    assert not folder.done
    with pytest.raises(ArtifactError, match=rf"is no folder\. Remove it and run again: rm {folder.path}"):
        folder.begin()


def test_a_finished_stage_knows_its_files(tmp_path: Path) -> None:
    """Missing, longer, of the same length, of another kind; figures' metrics and W&B's files may change."""
    folder = StageFolder(tmp_path, "spd", {"lr": 1.0}).begin()
    kept = write_text(folder.path / "student" / "adapter.bin", "abcd")
    for name in ("metrics.jsonl", "wandb/run.wandb"):
        write_text(folder.path / name, "1")
    folder.finish()
    for name in ("metrics.jsonl", "wandb/run.wandb", "notes.txt"):
        write_text(folder.path / name, "another")
    assert folder.done
    for change, says in (
        (lambda: kept.write_text("abc"), "it has 3 bytes and was written with 4"),
        (lambda: kept.write_text("abcX"), "its content is not what was written"),
        (lambda: (kept.unlink(), kept.mkdir()), "is no file any more"),
        (lambda: kept.rmdir(), "is missing"),
    ):
        change()
        with pytest.raises(ArtifactError, match=rf"{kept}.* {says}.*rm -r {folder.path}"):
            _ = folder.done


@pytest.mark.parametrize("content", [b"", bytes(9), b"[1]", b"3", b'"text"', b"\xff", b"[" * 100_000, b"{}"])
def test_a_damaged_manifest_is_named(tmp_path: Path, content: bytes) -> None:
    folder = StageFolder(tmp_path, "spd", {"lr": 1.0}).begin().finish()
    (folder.path / "manifest.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"rm -r {folder.path}"):
        _ = folder.done


def test_a_copied_link_is_not_overwritten(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "x")
    place = tmp_path / "x" / "arm" / "seed0" / "spd"
    place.mkdir(parents=True)
    (place / "mine.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=rf"{place} is in the way of a link .*rm -r {place}"):
        run.link("arm", 0, run.stage("spd", {"lr": 1.0}).begin().finish())
    assert (place / "mine.txt").exists()


def test_differences_ignore_what_only_adds_rows() -> None:
    assert differences({"seeds": [0], "a": {"b": 1, "c": 2}}, {"seeds": [1], "a": {"b": 1}}) == [("a.c", 2, None)]


def test_an_edited_source_is_named_and_the_stage_before_it_does_not_hide_it(tmp_path: Path) -> None:
    """The key follows every source, the key of the settings none; of several results the newest is compared."""

    def chain(spd: str, apo: str) -> StageFolder:
        first = StageFolder(tmp_path, "spd", {"lr": 1.0, "sources": {"losses/base.py": spd}})
        return StageFolder(tmp_path, "apo", {"from": first, "sources": {"functional/preference.py": apo}})

    stored = chain("a", "a")
    assert stored.why_anew() == []  # nothing to compare with
    stored.begin().finish()
    now = chain("a", "b")
    assert now.key != stored.key and now.settings_key == stored.settings_key
    assert now.why_anew() == ["source of functional/preference.py changed"]
    after = chain("b", "a")
    assert after.key != stored.key and after.why_anew() == ["spd was made anew"]
    assert chain("b", "b").why_anew() == ["source of functional/preference.py changed", "spd was made anew"]
    now.begin().finish(finished="2999-01-01")
    assert chain("a", "b").why_anew() == []
    (tmp_path / "apo-000000000000").mkdir()
    (tmp_path / "apo-000000000000/manifest.json").write_text("{")
    assert chain("a", "a").why_anew() == ["source of functional/preference.py changed"]


def test_of_many_edited_files_four_are_named(tmp_path: Path) -> None:
    StageFolder(tmp_path, "spd", {"sources": {}}).begin().finish()
    now = StageFolder(tmp_path, "spd", {"sources": {f"{name}.py": "1" for name in "abcdef"}})
    assert now.why_anew() == ["source of a.py, b.py, c.py, d.py and 2 more changed"]


def test_a_result_of_another_library_version_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = StageFolder(tmp_path, "spd", {}).begin().finish()
    assert set(inventory.read(folder.path)["versions"]) >= {"torch", "transformers", "peft", "tokenizers"}
    assert folder.other_versions() == []
    here = stage_folder.provenance()
    major, minor = here["versions"]["torch"].split(".")[:2]
    for version, told in ((f"{major}.{minor}.99", []), (f"{major}.999.0", ["torch"]), (f"99.{minor}.0", ["torch"])):
        monkeypatch.setattr(stage_folder, "provenance", lambda v=version: {"versions": here["versions"] | {"torch": v}})
        assert [said.split(" ")[0] for said in folder.other_versions()] == told
