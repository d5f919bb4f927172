"""What make hands on in one piece comes apart where a user means it to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from apo_lightning.cli.words import expanded, split

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  \n ", []),
        ("seeds=[0,1] a.b=c", ["seeds=[0,1]", "a.b=c"]),
        ("seeds=[0, 1]  a.b=c", ["seeds=[0, 1]", "a.b=c"]),
        ("pool.weights={name: router, of: {a: [1, 2]}} x=1", ["pool.weights={name: router, of: {a: [1, 2]}}", "x=1"]),
        ("name='my run' x=1", ["name=my run", "x=1"]),
        ("name=\"it's\" x=''", ["name=it's", "x="]),
        ("a={b: \"x y\", c: '}'} d=1", ["a={b: \"x y\", c: '}'}", "d=1"]),
        ("--budget money=5 --dry-run", ["--budget", "money=5", "--dry-run"]),
        ("a={b: c", ["a={b: c"]),
    ],
)
def test_blanks_part_words_outside_of_quotes_and_brackets(text: str, words: list[str]) -> None:
    assert split(text) == words


def test_only_what_was_handed_on_is_split() -> None:
    assert expanded(["run", "a b", "--set", "x=[1, 2] y=3", "z=4"]) == ["run", "a b", "x=[1, 2]", "y=3", "z=4"]
    assert expanded(["run", "--set", ""]) == expanded(["run", "--set"]) == ["run"]


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_hands_braces_and_blanks_on(tmp_path: Path) -> None:
    """A shell between the two takes neither apart."""
    stamp = tmp_path / "stamp"
    stamp.touch()
    words = 'pool.weights={name: router, power: 4} pool.gate={studies:0.3,action:leave_out} name="my run" x=$HOME*'
    printer = "import sys; print(sys.argv[1:])"
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\nexec python3 -c "{printer}" "$@"\n')
    fake.chmod(0o755)
    given = [f"STAMP={stamp}", f"PY={fake}", "EXP=smoke", f"SET={words.replace('$', '$$')}"]
    make = ["make", "-s", "-C", str(ROOT), "-o", str(stamp), "experiment", *given]
    done = subprocess.run(make, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(["-m", "apo_lightning", "run", "smoke", "--set", words])
