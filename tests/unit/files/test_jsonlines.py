"""JSON lines: what ends a line, what is refused and where it says it stands, what is written."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from apo_lightning.errors import ArtifactError, DataError
from apo_lightning.files import jsonlines
from apo_lightning.teachers.pool import collect
from apo_lightning.teachers.recorded import Recorded, read_jsonl
from apo_lightning.types import Study

BREAKING = [chr(n) for n in (0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x7F, 0x85, 0x2028, 0x2029)]
"""What str.splitlines or other tools take for the end of a line."""


@pytest.mark.parametrize("mark", [*BREAKING, "\r", "\n", "\ud800", "\U0001fac1", "ö"], ids=ascii)
def test_what_is_written_is_read_back_and_is_one_line_to_every_tool(tmp_path: Path, mark: str) -> None:
    rows = [{"study": "s1", "text": f"No{mark}edema."}, {"study": "s2", "text": "Edema."}]
    path = jsonlines.write(tmp_path / "preferred.jsonl", rows)
    assert jsonlines.read(path) == rows
    assert len(path.read_text("utf-8").splitlines()) == 2


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029"], ids=ascii)
def test_others_may_write_such_characters_as_they_are(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"text": f"a{mark}b"}, ensure_ascii=False).encode() + b"\r\n\r\n")
    assert jsonlines.read(path) == [{"text": f"a{mark}b"}]


def test_umlauts_stay_readable_and_numbers_that_json_does_not_know_are_null() -> None:
    row = {"text": "Ödem", "loss": math.nan, "more": [{"a": -math.inf}]}
    assert jsonlines.dumps(row) == '{"text": "Ödem", "loss": null, "more": [{"a": null}]}'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"a": 1', r"line 2: not JSON \(.* at column 8\)\. One line is one JSON object"),
        (b"[1]", r"line 2: not a JSON object but \[1\]"),
        (b'{"b": 1}', r"line 2: lacks the key 'a', has b"),
        (b'{"a": 1, "a": 2}', r"line 2: key 'a' stands twice"),
        (b'{"a": "\xff"}', r"line 2: not UTF-8 text"),
        (b"[" * 100_000, r"line 2: not JSON that can be read \(too deeply nested\)"),
        (bytes(20), r"line 2: not JSON"),
    ],
)
def test_a_damaged_line_is_named_with_what_to_remove(tmp_path: Path, line: bytes, says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 3}\n')
    with pytest.raises(ArtifactError, match=rf"rows\.jsonl is missing or damaged \({says}.*: rm -r {tmp_path}$"):
        jsonlines.read(path, keys=("a",))


def test_a_file_that_grows_gives_what_is_whole_and_the_numbers_of_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2):
        jsonlines.append(path, {"step": step})
    with path.open("ab") as file:
        file.write(b'nonsense\n{"loss": 1}\n{"step": 3}\n{"st')  # the last was cut by a kill
    found = jsonlines.read_grown(path, keys=("step",))
    assert [row["step"] for row in found.rows] == [1, 2, 3] and found.damaged == [3, 4]
    assert jsonlines.read_grown(tmp_path / "none.jsonl") == jsonlines.Grown()


def test_half_a_character_is_replaced_in_a_text_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        {"study": f"s{i}", "teacher": "gpt5", "text": text} for i, text in enumerate(["No edema \ud83d", "\udc00", "x"])
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    studies = [Study(f"s{i}", f"s{i}", "test", (), {}) for i in range(3)]
    found = collect({"gpt5": Recorded("gpt5", str(path))}, {"test": studies})
    assert [item.text for item in found] == ["No edema \ufffd", "\ufffd", "x"]
    assert "2 of 3 texts hold half a character" in caplog.text and "'gpt5' on study 's0'" in caplog.text


@pytest.mark.parametrize("key", ["study", "teacher"])
def test_half_a_character_in_a_name_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"study": "s", "teacher": "t", "text": "x", key: "a\ud800"}) + "\n")
    with pytest.raises(DataError, match=rf"t\.jsonl:1: '{key}' holds half a character .*\\ud800"):
        read_jsonl(path)
