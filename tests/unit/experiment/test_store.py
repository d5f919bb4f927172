"""``apo store``: what is listed, what is found damaged, and what is taken away."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from apo_lightning.caches.tensor_store import TensorStore
from apo_lightning.cli import main
from apo_lightning.experiment import stage_folder, store, upkeep
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.store import Item, Wanted, items
from apo_lightning.files import locks
from apo_lightning.hashing import inventory, sources

CODE = {"functional/preference.py": sources.now("functional/preference.py")}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """SPD and APO of one arm that a run shows, an SPD that none does, and a cache."""
    run = RunFolder(tmp_path / "runs", "x")
    first = made(run, "spd", {"lr": 1.0}, text="s" * 1000)
    second = made(run, "apo", {"lr": 1.0, "from": first, "sources": CODE}, text="a" * 2000)
    for folder in (first, second):
        run.link("arm", 0, folder)
    made(run, "spd", {"lr": 2.0}, text="s" * 3000)
    cache = TensorStore(run.store / f"features-{'0' * 12}.sqlite", {"weights": "w"})
    cache.put_many([(b"k", {"x": torch.ones(3)})])
    cache.close()
    return tmp_path / "runs"


def made(run: RunFolder, stage: str, inputs: dict, text: str = "x") -> StageFolder:
    folder = run.stage(stage, inputs).begin()
    (folder.path / "student").mkdir()
    (folder.path / "student" / "weights.txt").write_text(text)
    return folder.finish()


def known(runs: Path) -> dict[str, Item]:
    """Stages by name and learning rate, and the cache."""
    names = {}
    for item in items(runs):
        rate = "" if item.is_cache else (item.path / "config.yaml").read_text().split("lr: ")[-1].split("\n")[0]
        names[f"{item.name} {rate}".strip()] = item
    return names


def apo(*words: str) -> int:
    return main(["store", *words])


def test_a_stage_says_who_shows_it_and_what_it_was_made_from(runs: Path) -> None:
    found = known(runs)
    assert list(found) == ["apo 1.0", "spd 1.0", "spd 2.0", "features"]
    assert found["apo 1.0"].links == found["spd 1.0"].links == ("x/arm/seed0",) and found["spd 2.0"].links == ()
    assert found["apo 1.0"].made_of == {found["spd 1.0"].path.name} and found["spd 1.0"].made_of == frozenset()
    assert all(item.state == "" and item.finished and item.days < 1 for item in found.values())
    assert 3000 < found["spd 2.0"].size < 3000 + 4000 and len(found["apo 1.0"].key) == 64


def test_an_earlier_versions_manifest_says_it_by_its_settings(runs: Path) -> None:
    path = known(runs)["apo 1.0"].path
    record = {name: own for name, own in inventory.read(path).items() if name not in ("made_of", inventory.SEAL)}
    stage_folder.write_json(path / "manifest.json", inventory.sealed(record))
    found = known(runs)
    assert found["apo 1.0"].made_of == {found["spd 1.0"].path.name}


def test_a_trial_of_a_sweep_shows_its_stages_too(runs: Path) -> None:
    inner = RunFolder(runs, "x-sweep/abc/trial1")
    inner.link("arm", 1, inner.stage("spd", {"lr": 2.0}))
    assert known(runs)["spd 2.0"].links == ("x-sweep/abc/trial1/arm/seed1",)


def test_a_link_to_a_copy_elsewhere_shows_nothing(runs: Path, tmp_path: Path) -> None:
    path = known(runs)["spd 2.0"].path
    other = tmp_path / "elsewhere" / path.name
    other.mkdir(parents=True)
    (runs / "x/arm/seed0/copy").symlink_to(other)
    assert known(runs)["spd 2.0"].links == ()


def test_edited_source_and_other_versions_are_stale(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"functional/preference.py": "other", "./mine.py": None}
    monkeypatch.setattr(store, "_now", now.get)
    assert known(runs)["apo 1.0"].state == "stale: functional/preference.py changed"
    assert store.edited({"sources": {"./mine.py": "1"}}) == ()  # it may lie where this process does not look
    assert store.edited({"sources": {"gone.py": "1", "functional/preference.py": "other"}}) == ("gone.py",)
    here = stage_folder.provenance()
    newer = {**here, "versions": {**here["versions"], "torch": "99.0.0"}}
    monkeypatch.setattr(stage_folder, "provenance", lambda: newer)
    torch_was = here["versions"]["torch"]
    assert known(runs)["spd 1.0"].state == f"made with torch {torch_was} (here 99.0.0)"


def test_a_list_is_a_table(runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(runs.parent)
    unfinished = RunFolder(runs, "x").stage("apo", {"lr": 3.0}).begin()
    assert apo() == 0
    lines = capsys.readouterr().out.splitlines()
    spd = known(runs)["spd 2.0"]
    line = next(line.split() for line in lines if spd.key[:12] in line)
    assert line[0] == "spd" and "nobody" in line
    assert next(line for line in lines if unfinished.key[:12] in line).endswith("unfinished ")
    assert lines[-1].startswith("4 stages and 1 cache in runs/store, ") and lines[-1].endswith(" 1 unlinked, 0 stale")
    (known(runs)["spd 1.0"].path).rename(runs / "moved")
    assert apo("list") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 links of runs lead nowhere, first runs/x/arm/seed0/spd"


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Wanted(), {"apo 1.0", "spd 1.0", "spd 2.0", "features"}),
        (Wanted(unlinked=True), {"spd 2.0"}),
        (Wanted(stale=True), set()),
        (Wanted(unfinished=True), set()),
        (Wanted(older=3.0), {"spd 1.0", "features"}),
        (Wanted(larger=3400), {"apo 1.0", "spd 2.0", "features"}),
        (Wanted(larger=3400, unlinked=True), {"spd 2.0"}),
        (Wanted(older=0.0, larger=0), {"apo 1.0", "spd 1.0", "spd 2.0", "features"}),
        (Wanted(older=5.0), set()),
    ],
)
def test_what_is_meant(runs: Path, wanted: Wanted, taken: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    old = time.time() - 4 * 86400
    found = known(runs)
    found |= {name: replace(found[name], made=old) for name in ("spd 1.0", "features")}
    assert {name for name, item in found.items() if wanted.takes(item)} == taken


def test_what_is_damaged_is_named_with_its_removal(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert apo("check", "--runs-dir", str(runs)) == 0
    assert "3 stages and 1 cache" in (out := capsys.readouterr().out) and out.endswith("all whole.\n")
    path = known(runs)["spd 2.0"].path
    (path / "student/weights.txt").write_text("t" * 3000)
    cache = known(runs)["features"].path
    content = cache.read_bytes()
    place = content.rindex(torch.ones(3).numpy().tobytes())
    cache.write_bytes(content[:place] + b"\x01" + content[place + 1 :])
    assert apo("check", "--runs-dir", str(runs)) == 2
    told = capsys.readouterr()
    assert f"error: {path / 'student/weights.txt'} is damaged" in told.err and f"rm -r {path}" in told.err
    assert f"error: {cache}: row 6b is damaged (its checksum differs)" in told.err
    assert told.out.endswith("2 damaged.\n")
    assert apo("check", "--larger", "1TB", "--runs-dir", str(runs)) == 0
    (path / "manifest.json").write_text("{")
    assert known(runs)["spd 2.0"].state.startswith("damaged (")
    assert apo("check", "--runs-dir", str(runs)) == 2


def test_a_check_reads_large_files_again(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of a file by its times would hide a disk that has lost a bit."""
    item = known(runs)["spd 2.0"]
    wanted = inventory.read(item.path)["files"]["student/weights.txt"]["sha256"]
    monkeypatch.setattr(inventory, "LARGE", 10)
    monkeypatch.setattr(inventory, "remembered", lambda *how: [wanted])
    (item.path / "student/weights.txt").write_text("t" * 3000)
    inventory.check(item.path)
    assert "weights.txt is damaged: its content is not what was written" in upkeep.damage(item)


def test_nothing_goes_before_one_is_sure(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spd = known(runs)["spd 2.0"]
    for words in ((), ("--dry-run",)):
        assert apo("prune", "--unlinked", "--runs-dir", str(runs), *words) == 0
        assert "1 stage and 0 caches would go and free" in (out := capsys.readouterr().out) and "add --yes" in out
    assert spd.path.is_dir()
    assert apo("prune", "--unlinked", "--runs-dir", str(runs), "--yes") == 0
    assert "1 stage and 0 caches taken away" in capsys.readouterr().out
    assert list(known(runs)) == ["apo 1.0", "spd 1.0", "features"]
    assert not list((runs / "store").glob("*spd*lock*")) and not list((runs / "store").glob(".*"))


def test_what_a_kept_stage_was_made_from_stays(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a run shows that one: APO is larger and goes, what it came from stays with it or goes alone."""
    os.remove(runs / "x/arm/seed0/spd")
    apo("prune", "--unlinked", "--runs-dir", str(runs), "--yes")
    apo_1 = known(runs)["apo 1.0"]
    assert list(known(runs)) == ["apo 1.0", "spd 1.0", "features"]
    assert f"kept: {known(runs)['spd 1.0'].path.name}, {apo_1.path.name} was made from it" in capsys.readouterr().out
    os.remove(runs / "x/arm/seed0/apo")
    apo("prune", "--unlinked", "--runs-dir", str(runs), "--yes")
    assert list(known(runs)) == ["features"]


def test_a_chain_of_origins_stays(runs: Path) -> None:
    def item(name: str, links: tuple[str, ...] = (), made_of: tuple[str, ...] = ()) -> Item:
        return Item(Path(name), name, "0", 0.0, 1, links, frozenset(made_of))

    a, b, c = item("a"), item("b", made_of=("a",)), item("c", ("x/arm/seed0",), ("b",))
    assert upkeep.spared([a, b], [a, b, c]) == {Path("b"): "c was made from it", Path("a"): "b was made from it"}
    assert upkeep.spared([a], [a, b]) == {} and upkeep.spared([a, b, c], [a, b, c]) == {}


def test_what_a_run_uses_stays(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The stage that it makes, the stages that it shows, what an unfinished one is made from, and every cache."""
    run = RunFolder(runs, "y")
    first = known(runs)["spd 2.0"]
    unfinished = run.stage("apo", {"lr": 9.0, "from": run.stage("spd", {"lr": 2.0})}).begin()
    words = ("prune", "--larger", "0", "--runs-dir", str(runs), "--yes")
    with ExitStack() as held:
        held.enter_context(locks.held(unfinished.path.with_name(f"{unfinished.path.name}.lock"), "apo", print))
        held.enter_context(locks.held(runs / "x" / ".run-1234.lock", "x", print))
        assert apo(*words) == 0
    assert "0 stages and 0 caches taken away" in (out := capsys.readouterr().out)
    assert out.count("in use by process") == 4  # the cache, the unfinished one, and both that x shows
    assert f"kept: {first.path.name}, {unfinished.path.name} was made from it" in out
    assert len(known(runs)) == 5
    assert apo(*words) == 0 and list(known(runs)) == []
    assert "Their arms are left out of tables until they are run again: x/arm/seed0." in capsys.readouterr().out


def test_what_was_made_anew_meanwhile_stays(runs: Path) -> None:
    item = known(runs)["spd 2.0"]
    (item.path / "more.txt").write_text("1")
    assert not upkeep.take_away(item) and item.path.is_dir()
    lock = item.path.with_name(f"{item.path.name}.lock")
    with locks.held(lock, "spd", print):
        assert not upkeep.take_away(known(runs)["spd 2.0"])
    assert upkeep.take_away(known(runs)["spd 2.0"]) and not item.path.exists()


def test_nothing_outside_of_the_store_goes(runs: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("notes")
    (runs / "store" / f"spd-{'a' * 12}").symlink_to(mine, target_is_directory=True)
    (runs / "store" / f"reference-{'b' * 12}.sqlite").symlink_to(mine / "notes.txt")
    (runs / "store" / "notes").mkdir()
    (known(runs)["spd 2.0"].path / "student" / "link").symlink_to(mine, target_is_directory=True)
    for word in ("--unlinked", "--larger=0"):
        assert apo("prune", word, "--runs-dir", str(runs), "--yes") == 0
    assert (mine / "notes.txt").read_text() == "notes" and len(list((runs / "store").iterdir())) == 3


def test_a_store_on_another_disk_is_the_same(runs: Path, tmp_path: Path) -> None:
    (runs / "store").rename(tmp_path / "large")
    (runs / "store").symlink_to(tmp_path / "large", target_is_directory=True)
    assert known(runs)["apo 1.0"].links == ("x/arm/seed0",)
    assert apo("prune", "--unlinked", "--runs-dir", str(runs), "--yes") == 0
    assert list(known(runs)) == ["apo 1.0", "spd 1.0", "features"]


def test_what_an_interrupted_removal_left_goes_with_the_next(runs: Path) -> None:
    left = runs / "store" / upkeep.DOOMED.format("spd-x")
    left.mkdir()
    apo("prune", "--unlinked", "--runs-dir", str(runs), "--yes")
    assert not left.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prune",), "prune takes what is named: --unlinked, --stale"),
        (("prune", "--yes"), "prune takes what is named"),
        (("list", "--yes"), "--yes belongs to prune"),
        (("check", "--dry-run"), "--dry-run belongs to prune"),
        (("prune", "--stale", "--yes", "--dry-run"), "--yes takes away and --dry-run does not"),
        (("list", "--older", "soon"), "--older must be a number of days, 0 or more, got 'soon'."),
        (("list", "--older", "-1"), "--older must be a number of days, 0 or more, got '-1'."),
        (("list", "--older", "nan"), "--older must be a number of days, 0 or more, got 'nan'."),
        (("list", "--larger", "big"), "--larger must be a number of bytes, kB, MB, GB or TB, as 500MB, got 'big'."),
        (("list", "--runs-dir", "nowhere"), "There is no store in nowhere/."),
    ],
)
def test_what_cannot_be_done_is_said(runs: Path, words: tuple[str, ...], said: str, capsys) -> None:
    where = () if "--runs-dir" in words else ("--runs-dir", str(runs))
    assert apo(*words, *where) == 2
    assert said in capsys.readouterr().err and len(known(runs)) == 4
