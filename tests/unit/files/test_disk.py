"""A full disk, a place that may not be written, a wrong kind of file: one sentence, and nothing half-written."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from apo_lightning.caches.tensor_store import TensorStore
from apo_lightning.cli import commands, listing
from apo_lightning.errors import DataError
from apo_lightning.experiment.prediction_files import PredictionFiles
from apo_lightning.files import atomic, disk, jsonlines

LIMIT = 60_000
"""Bytes that a file may have in these tests: the system refuses the rest, as a full disk does."""


@pytest.fixture
def small_disk() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def folder_of_tensors(path: Path) -> None:
    with atomic.replacing(path) as scratch:
        scratch.mkdir()
        (scratch / "small.txt").write_text("small")
        save_file({"a": torch.ones(LIMIT)}, scratch / "adapter_model.safetensors")


def part(path: Path) -> None:
    from apo_lightning.stages.generate import Written
    from apo_lightning.types import Answer

    writer = PredictionFiles(str(path.parents[1]))
    writer.write_on_batch_end(None, None, Written(0, ["s"], [[Answer("x" * 2 * LIMIT)]]))


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "text": ("a.txt", lambda path: atomic.write_text(path, "x" * 2 * LIMIT)),
    "rows": ("a.jsonl", lambda path: jsonlines.write(path, [{"text": "x" * 2 * LIMIT}])),
    "a line more": ("metrics.jsonl", lambda path: jsonlines.append(path, {"text": "x" * 2 * LIMIT})),
    "a folder of tensors": ("student", folder_of_tensors),
    "a part": ("parts/000000.json", part),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(tmp_path: Path, small_disk: None, kind: str) -> None:
    name, write = WRITERS[kind]
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    before = b'{"step": 1}\n' if kind == "a line more" else None
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(atomic.Unwritten) as caught:
        write(path)
    said = disk.explain(caught.value)
    assert said.startswith(f"{path} could not be written") and said.count(". ") <= 3
    for part_ in ("File too large", "are free there", "finished before is kept", "goes on where it stopped"):
        assert part_ in said
    if name != "student":
        assert "takes 120 kB" in said  # what was needed
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == (["run/metrics.jsonl"] if before is not None else [])
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO])
def test_every_refusal_of_a_disk_names_path_what_is_kept_and_what_to_do(tmp_path: Path, number: int) -> None:
    said = disk.explain(OSError(number, os.strerror(number), str(tmp_path / "a")))
    for piece in (str(tmp_path / "a"), os.strerror(number), "kept", "the same command again"):
        assert piece in said


def test_it_is_found_behind_other_errors() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("PytorchStreamWriter failed writing file") from error
    except RuntimeError as error:
        assert disk.explain(error).startswith("A file of ")


def test_errors_of_another_kind_stay_what_they_are() -> None:
    assert disk.explain(ValueError("[Errno 28]")) is None
    assert disk.explain(FileNotFoundError(errno.ENOENT, "No such file", "a")) is None
    try:
        try:
            raise PermissionError(errno.EACCES, "Permission denied", "/etc/shadow")
        except PermissionError:
            raise KeyError("a mistake of ours")  # noqa: B904
    except KeyError as error:
        assert disk.explain(error) is None


@pytest.mark.parametrize(
    ("make", "what", "command"),
    [
        (lambda place: place.mkdir(), "is a folder, where a file or a link should be", "rm -r"),
        (lambda place: place.symlink_to(place), "", "rm"),
    ],
)
def test_a_wrong_kind_of_file_is_named_with_the_command_that_removes_it(tmp_path: Path, make, what, command) -> None:
    place = tmp_path / "results.csv"
    make(place)
    if what:
        with pytest.raises(atomic.Unwritten) as caught:
            atomic.write_text(place, "x")
        assert disk.explain(caught.value).startswith(f"{place} {what}") and f"({command} {place})" in disk.explain(
            caught.value
        )
    else:
        assert atomic.write_text(place, "x").read_text() == "x"  # a link is replaced, not followed


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_what_is_in_the_way_of_a_folder_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "runs").write_text("x") if kind == "file" else (tmp_path / "runs").symlink_to("gone")
    with pytest.raises(atomic.Unwritten) as caught:
        atomic.write_text(tmp_path / "runs" / "store" / "a.txt", "x")
    assert f"{tmp_path / 'runs'} is a" in disk.explain(caught.value) and f"(rm {tmp_path / 'runs'})" in disk.explain(
        caught.value
    )


def test_half_a_character_that_came_with_a_file_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"splits\.csv cannot be written: half a character .*'a\\udcff\.png'"):
        atomic.write_text(tmp_path / "splits.csv", "a\udcff.png")
    assert not list(tmp_path.iterdir())


def test_the_command_line_ends_with_the_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/store")

    monkeypatch.setattr(listing, "list_", full)
    assert commands.main(["list"]) == 2
    assert capsys.readouterr().err.startswith("error: runs/store could not be written: No space left on device")


def test_a_store_of_what_can_be_computed_again_goes_on_without_storing(
    tmp_path: Path, small_disk: None, caplog: pytest.LogCaptureFixture
) -> None:
    store = TensorStore(tmp_path / "features.sqlite", {"weights": "a"})
    store.put_many([(b"small", {"a": torch.ones(2)})])
    for key in (b"large", b"larger"):
        store.put_many([(key, {"a": torch.ones(LIMIT)})])
    assert [row is not None for row in store.get_many([b"small", b"large"])] == [True, False]
    assert store.written == 1 and caplog.text.count("takes no more rows") == 1


def test_a_report_that_cannot_be_written_is_no_traceback(tmp_path: Path) -> None:
    """The real command in a process of its own, whose files may not grow."""
    from tests.helpers import fake_run

    run = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=3)
    code = f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, {LIMIT}))\n"
    code += f"from apo_lightning import cli; sys.exit(cli.main(['report', {str(run)!r}]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "could not be written" in done.stderr and not list(run.rglob("*.tmp"))
    assert commands.main(["report", str(run)]) == 0
