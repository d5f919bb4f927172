"""A Java program that hangs, dies, or floods its error output ends in one sentence, and never in a wait."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import pytest

from apo_lightning.errors import ConfigError
from apo_lightning.metrics.report_text import coco, java
from apo_lightning.metrics.report_text.java import LineServer, lacks_java, run_once
from apo_lightning.settings.reports import ReportTextSettings

READ = "for number, line in enumerate(sys.stdin):\n    "


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a Python script where ``java`` is looked for."""

    def put(body: str) -> Path:
        file = tmp_path / "bin" / "java"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!{sys.executable} -S\nimport sys, time\n{body}\n")
        file.chmod(file.stat().st_mode | stat.S_IEXEC)
        monkeypatch.setenv("PATH", str(file.parent))
        return tmp_path

    return put


def test_more_lines_than_a_pipe_holds(program) -> None:
    """Answers come while questions still go out, and neither side waits for the other."""
    folder = program(READ + "print(len(line) - 1, flush=True); sys.stderr.write('x' * 500)")
    server = LineServer(["-jar"], folder)
    lines = ["word " * (i % 100) + "." for i in range(3000)]
    assert server.ask(lines) == [str(len(line)) for line in lines]
    assert server.ask(["ab"]) == ["2"]
    held = server.process
    server.close()
    assert held is not None and held.poll() is not None


def test_a_program_that_dies_says_why_and_is_started_anew(program) -> None:
    folder = program(READ + "if 'bad' in line: sys.exit('Exception: out of memory')\n    print('ok', flush=True)")
    server = LineServer(["-jar", "meteor-1.5.jar"], folder)
    with pytest.raises(ConfigError, match=r"out of memory\)\. The answers are kept\..*backend=python"):
        server.ask(["one", "bad", "two"])
    assert server.ask(["one", "two"]) == ["ok", "ok"]
    server.close()


def test_a_silent_program_is_ended(program) -> None:
    folder = program(READ + "time.sleep(60)")
    server, start = LineServer(["-jar"], folder, silence=0.3), time.monotonic()
    with pytest.raises(ConfigError, match=r"silent for 0\.3 s"):
        server.ask(["one"])
    assert time.monotonic() - start < 20 and server.process is None


def test_an_answer_that_is_no_count(program, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = program(READ + "print('Error: specify SCORE', flush=True)")
    server = LineServer(["-jar"], folder)
    monkeypatch.setattr(coco, "_server", lambda: server)
    with pytest.raises(ConfigError, match="answered 'Error: specify SCORE'"):
        coco.meteor_counts(["no edema"], ["edema"])
    server.close()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sys.exit('cannot find class')", "cannot find class"),
        ("print('one line')", "it said nothing"),
        ("time.sleep(60)", "TimeoutExpired"),
    ],
)
def test_a_tokenizer_that_fails(program, monkeypatch: pytest.MonkeyPatch, body: str, told: str) -> None:
    monkeypatch.setattr(java, "SILENCE", 1.0)
    folder = program(body)
    with pytest.raises(ConfigError, match=told):
        run_once(["-cp"], ["one", "two"], folder)


def test_what_is_lacking_is_said(program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("pycocoevalcap")
    metric = coco.Coco(ReportTextSettings(backend="coco"))
    program("")
    assert metric.lacking() == ""
    program("sys.exit('No Java runtime present')")
    assert "does not run (No Java runtime present)" in metric.lacking()
    monkeypatch.setenv("PATH", os.devnull)
    assert "no java is on the PATH (METEOR needs Java 8" in metric.lacking() and lacks_java()
    monkeypatch.setattr(coco, "folder", lambda: tmp_path)
    assert f"{tmp_path}/meteor/meteor-1.5.jar is not there" in metric.lacking()
    monkeypatch.setattr(coco.importlib.util, "find_spec", lambda name: None)
    assert metric.lacking() == (
        "evaluate.report_text.backend is coco, and the package pycocoevalcap is not installed (pip install "
        "'apo-lightning[java]'). Install it, or take backend=python, whose values are not comparable with it."
    )
