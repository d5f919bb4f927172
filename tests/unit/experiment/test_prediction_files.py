"""What a student writes is filed batch by batch: one that was cut off goes on, damaged parts are asked again."""

from __future__ import annotations

from pathlib import Path

import pytest

from apo_lightning.experiment.prediction_files import PredictionFiles
from apo_lightning.stages.generate import Written
from apo_lightning.types import Answer


def test_parts_of_a_prediction_are_numbered_and_joined(tmp_path: Path) -> None:
    writer = PredictionFiles(tmp_path)
    for number, texts in ((2, ["c"]), (0, ["a", "b"])):
        studies = [f"s{number}{i}" for i in range(len(texts))]
        written = Written(number, studies, [[Answer(text, text == "b")] for text in texts])
        writer.write_on_batch_end(None, None, written)
    (tmp_path / "parts" / "000005.tmp").write_text("{")  # a kill in the middle of a write
    assert writer.done() == {0, 2}
    assert writer.answers() == {"s00": [Answer("a")], "s01": [Answer("b", cut=True)], "s20": [Answer("c")]}


PART = '{"studies": ["a", "b"], "texts": [["x"], ["y"]], "cut": [[false], [true]]}'
ENDS = ', "cut": [[false], [true]]}'
BAD_PARTS = {
    "cut off": PART[:-9],
    "no ends": '{"studies": ["a", "b"], "texts": [["x"], ["y"]]}',
    "empty": "",
    "zeros": "\0" * 40,
    "text": "not ours",
    "a list": "[1]",
    "null": "null",
    "no texts": '{"studies": ["a", "b"]}',
    "fewer texts": '{"studies": ["a", "b"], "texts": [["x"]]' + ENDS,
    "fewer ends": PART.replace("[false], ", ""),
    "ends, not words": PART.replace("true", "1"),
    "no answer": '{"studies": ["a", "b"], "texts": [["x"], []]' + ENDS,
    "texts, not lists": PART.replace('["x"]', '"x"'),
    "other studies": PART.replace("b", "c"),
    "another order": '{"studies": ["b", "a"], "texts": [["y"], ["x"]]' + ENDS,
    "numbers": '{"studies": [1, 2], "texts": [[1], [2]]' + ENDS,
    "not utf-8": None,
}


@pytest.mark.parametrize("kind", [*BAD_PARTS, "a folder", "a dangling link"])
def test_a_damaged_or_foreign_part_is_asked_again_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "000001.json").write_text('{"studies": ["c"], "texts": [["z"]], "cut": [[true]]}')
    bad = parts / "000000.json"
    if kind == "a folder":
        (bad / "inside").mkdir(parents=True)
    elif kind == "a dangling link":
        bad.symlink_to("gone")
    else:
        bad.write_bytes(b"\xff{" if BAD_PARTS[kind] is None else BAD_PARTS[kind].encode())
    writer = PredictionFiles(tmp_path)
    assert writer.expect(["a", "b", "c"], 2) == 2
    assert writer.done() == {1}
    assert f"{bad} is damaged (" in caplog.text and "asked again" in caplog.text
    writer.write_on_batch_end(None, None, Written(0, ["a", "b"], [[Answer("x")], [Answer("y\u2028")]]))
    assert writer.done() == {0, 1}
    assert writer.answers() == {"a": [Answer("x")], "b": [Answer("y\u2028")], "c": [Answer("z", cut=True)]}


def test_what_is_not_a_part_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for name in ("notes.json", "000000 (copy).json", "-1.json", "1.json", "000009.json", "٠٠٠٠٠٠.json"):
        (tmp_path / "parts" / name).write_text('{"studies": ["a"], "texts": [["foreign"]], "cut": [[false]]}')
    writer = PredictionFiles(tmp_path)
    writer.expect(["a"], 2)
    assert writer.done() == frozenset() and writer.answers() == {}
    assert len(list((tmp_path / "parts").iterdir())) == 6
