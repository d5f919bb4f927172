"""A file of tensors: what comes back, what is refused, and what a kill, a fork or a second process leaves behind."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from apo_lightning.caches import tensor_store
from apo_lightning.caches.tensor_store import TensorStore
from apo_lightning.errors import ArtifactError

IDENTITY = {"weights": "aa", "template": "bb"}


def store(path: Path, **identity: str) -> TensorStore:
    return TensorStore(path / "store.db", IDENTITY | identity)


def row(value: float, size: int = 3) -> dict[str, torch.Tensor]:
    return {"x": torch.full((size,), value)}


def values(rows: list[dict[str, torch.Tensor] | None]) -> list[float | None]:
    return [row if row is None else row["x"][0].item() for row in rows]


def edit(path: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(path / "store.db") as connection:
        connection.execute(statement, values)
    connection.close()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.uint8])
def test_tensors_come_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    batch = (torch.randn(4, 6) * 3).to(dtype)
    put = {"all": batch, "part": batch[1:3], "turned": batch.t(), "empty": batch[:0], "scalar": batch[0, 0]}
    store(tmp_path).put_many([(b"k", put)])
    got = store(tmp_path).get_many([b"k"])[0]
    assert got is not None and got.keys() == put.keys()
    assert all(got[name].dtype == dtype and torch.equal(got[name], tensor) for name, tensor in put.items())


def test_lookups_are_counted_and_a_row_is_never_replaced(tmp_path: Path) -> None:
    own = store(tmp_path)
    own.put_many([(b"a", row(1)), (b"b", row(2))])
    own.put_many([(b"b", row(9)), (b"c", row(3))])
    own.put_many([])
    assert values(own.get_many([b"c", b"none", b"b", b"b"])) == [3, None, 2, 2]
    assert (own.hits, own.misses, own.written, len(own)) == (3, 1, 3, 3)
    assert b"a" in own and b"none" not in own


def test_another_identity_is_refused_field_by_field(tmp_path: Path) -> None:
    store(tmp_path).put_many([(b"a", row(1))])
    with pytest.raises(ArtifactError) as error:
        store(tmp_path, template="cc", adapter="dd")
    assert "adapter was None, is 'dd'; template was 'bb', is 'cc'. Delete the file" in str(error.value)
    assert str(tmp_path / "store.db") in str(error.value) and "weights" not in str(error.value)
    with pytest.raises(ArtifactError, match="else: template was 'bb', is None"):
        TensorStore(tmp_path / "store.db", {"weights": "aa"})
    edit(tmp_path, "UPDATE meta SET value = 'apo-lightning tensors 0' WHERE field = 'store format'")
    with pytest.raises(ArtifactError, match="store format was 'apo-lightning tensors 0', is"):
        store(tmp_path)


@pytest.mark.parametrize("content", [b"hello", b"x" * 5000, b"SQLite format 3\0" + b"\1" * 8000])
def test_what_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "store.db").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"store\.db is not a store of tensors, or is damaged.*Delete the file"):
        store(tmp_path)
    assert (tmp_path / "store.db").read_bytes() == content


@pytest.mark.parametrize("table", ["notes (text)", "meta (something)"])
def test_the_database_of_another_program_is_refused(tmp_path: Path, table: str) -> None:
    edit(tmp_path, f"CREATE TABLE {table}")
    with pytest.raises(ArtifactError, match="is not a store of tensors"):
        store(tmp_path)


def test_a_place_that_cannot_hold_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match=r"file/store\.db cannot be read or written .*Look at"):
        len(store(tmp_path / "file"))
    with pytest.raises(ArtifactError, match=r"cannot be read or written .*Look at"):
        TensorStore(tmp_path, IDENTITY)


@pytest.mark.parametrize("cut", [1, 100, 4096, 20_000, 35_000])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    store(tmp_path).put_many([(bytes([i]), row(i, 2000)) for i in range(5)])
    os.truncate(tmp_path / "store.db", (tmp_path / "store.db").stat().st_size - cut)
    with pytest.raises(ArtifactError, match=r"(cut off|damaged).*Delete the file"):
        store(tmp_path)


def test_a_changed_byte_is_found_by_the_rows_checksum(tmp_path: Path) -> None:
    store(tmp_path).put_many([(b"a", row(1, 500)), (b"b", row(2, 500))])
    file = tmp_path / "store.db"
    content = file.read_bytes()
    place = content.index(row(2, 500)["x"].numpy().tobytes()[:100])
    file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    assert values(store(tmp_path).get_many([b"a"])) == [1]
    with pytest.raises(ArtifactError, match=rf"store\.db: row {b'b'.hex()} is damaged \(its checksum.*Delete the file"):
        store(tmp_path).get_many([b"b"])


def test_rows_under_a_wrong_key_and_rows_that_hold_no_tensors_are_refused(tmp_path: Path) -> None:
    store(tmp_path).put_many([(b"a", row(1))])
    edit(tmp_path, "UPDATE rows SET key = ?", b"b")
    with pytest.raises(ArtifactError, match="checksum differs"):
        store(tmp_path).get_many([b"b"])
    for value in (b"no tensors", b""):
        edit(tmp_path, "UPDATE rows SET value = ?, checksum = ?", value, tensor_store._checksum(b"b", value))
        with pytest.raises(ArtifactError, match=rf"row {b'b'.hex()} is damaged \(its tensors cannot be read"):
            store(tmp_path).get_many([b"b"])
    edit(tmp_path, "UPDATE rows SET value = 'text'")
    with pytest.raises(ArtifactError, match="checksum differs"):
        store(tmp_path).get_many([b"b"])


def test_a_lock_that_is_never_released_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_store, "TIMEOUT", 0.05)
    own = store(tmp_path)
    assert len(own) == 0
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ArtifactError, match="was locked by another process"):
        own.put_many([(b"a", row(1))])
    other.execute("ROLLBACK")
    own.put_many([(b"a", row(1))])
    assert (len(own), own.written) == (1, 1)


@pytest.mark.parametrize(
    ("name", "words"),
    [("CORRUPT_INDEX", "or is damaged"), ("BUSY_RECOVERY", "was locked"), ("IOERR_READ", "cannot be read or written")],
)
def test_variants_of_an_error_are_told_like_the_error(name: str, words: str) -> None:
    error = sqlite3.OperationalError("reason")
    error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")
    told = tensor_store._trouble(error)
    assert words in told and "(reason)" in told


def test_a_store_that_another_process_makes_first_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count, others = tensor_store._tables, [store(tmp_path)]

    def overtaken(connection: sqlite3.Connection) -> int:
        tables = count(connection)
        if others:
            others.pop().put_many([(b"a", row(1))])
        return tables

    monkeypatch.setattr(tensor_store, "_tables", overtaken)
    assert b"a" in store(tmp_path)


def test_a_store_is_made_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(ArtifactError, match="no_such"):
        patch.setattr(tensor_store, "SCHEMA", (*tensor_store.SCHEMA, "CREATE INDEX i ON no_such (key)"))
        len(store(tmp_path))
    assert len(store(tmp_path)) == 0


CHILD = """
import os, signal, sys
from pathlib import Path
import torch
from apo_lightning.caches.tensor_store import TensorStore

store = TensorStore(Path(sys.argv[1]), {"weights": "aa", "template": "bb"})
inserts = 0

def die_in_the_middle(statement):
    global inserts
    inserts += statement.startswith("INSERT")
    if inserts == 12:
        os.kill(os.getpid(), signal.SIGKILL)

with store._open() as connection:
    connection.set_trace_callback(die_in_the_middle)
for start in (0, 4, 8):
    store.put_many([(bytes([i]), {"x": torch.full((1 << 18,), float(i))}) for i in range(start, start + 4)])
    print(start, flush=True)
"""


def test_a_kill_loses_the_unfinished_transaction_only(tmp_path: Path) -> None:
    """Rows of 1 MB are more than SQLite keeps in memory: half of the third transaction is in the file already."""
    file = tmp_path / "store.db"
    child = subprocess.run([sys.executable, "-c", CHILD, file], capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout.split()) == (-signal.SIGKILL, ["0", "4"]), child.stderr
    assert (tmp_path / "store.db-journal").exists() and file.stat().st_size > 9 << 20
    own = store(tmp_path)
    assert values(own.get_many([bytes([i]) for i in range(12)])) == [0, 1, 2, 3, 4, 5, 6, 7, None, None, None, None]
    own.put_many([(bytes([i]), row(i)) for i in range(12)])
    assert (own.written, len(own)) == (4, 12)


def write_rows(own: TensorStore, start: int) -> None:
    for i in range(start, start + 30):
        own.put_many([(bytes([i]), row(i)), (b"shared", row(-1))])
    assert (os.getpid(), threading.get_ident()) in own._connections


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_processes_write_at_once(tmp_path: Path, method: str) -> None:
    own = store(tmp_path)
    if method == "fork":
        own.put_many([(b"first", row(0))])  # a connection is open when the process forks; spawn starts with no file
    context = multiprocessing.get_context(method)
    writers = [context.Process(target=write_rows, args=(own, start)) for start in (0, 20)]
    for writer in writers:
        writer.start()
    write_rows(own, 40)
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert values(own.get_many([bytes([i]) for i in range(70)])) == list(range(70))
    assert len(own) == 71 + (method == "fork")


def test_loader_workers_read_what_the_loader_wrote(tmp_path: Path) -> None:
    own = store(tmp_path)
    own.put_many([(bytes([i]), row(i)) for i in range(6)])
    loader = DataLoader([bytes([i]) for i in range(6)], batch_size=3, num_workers=2, collate_fn=own.get_many)
    assert [values(batch) for batch in loader] == [[0, 1, 2], [3, 4, 5]]
    own.put_many([(b"after", row(7))])
    assert len(own) == 7


def test_threads_and_copies_have_connections_of_their_own(tmp_path: Path) -> None:
    own, got = store(tmp_path), []
    own.put_many([(b"a", row(1))])
    thread = threading.Thread(target=lambda: got.extend(values(own.get_many([b"a"]))))
    thread.start()
    thread.join()
    copy = pickle.loads(pickle.dumps(own))
    assert (got, values(copy.get_many([b"a"])), copy.written) == ([1], [1], 0)
    own.close()
    own.close()
    assert b"a" in own


def test_nothing_is_written_before_the_first_access_and_one_file_after(tmp_path: Path) -> None:
    own = TensorStore(tmp_path / "deep" / "store.db", IDENTITY)
    assert list(tmp_path.iterdir()) == []
    own.put_many([(b"a", row(1))])
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["store.db"]
