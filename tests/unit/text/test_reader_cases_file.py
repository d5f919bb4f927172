"""Texts that were once read wrongly, from the folder of real inputs where it lies beside the project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.readings import SEVEN, SHORT, right

CASES = Path(__file__).resolve().parents[3].parent / "shared" / "faults" / "labeler" / "cases.tsv"


@pytest.mark.skipif(not CASES.exists(), reason="needs ../shared/faults/labeler/cases.tsv")
def test_every_case_of_the_file() -> None:
    short = {SHORT[key]: key for key in SHORT if SHORT[key] in SEVEN}
    rows = [line.split("\t") for line in CASES.read_text("utf-8").splitlines()[1:]]
    wrong = {}
    for text, expected in ((json.loads(text), right_) for text, right_ in rows):
        for name, key in short.items():
            expected = expected.replace(f"{name}=", f"{key}=")
        if (read := right(text, expected)) != expected:
            wrong[text] = (expected, read)
    assert len(rows) > 40 and not wrong
