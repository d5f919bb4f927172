"""``apo audit``: how the reader reads texts, sentence by sentence, the doubtful first."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from apo_lightning.console import Console
from apo_lightning.errors import ConfigError, DataError
from apo_lightning.files import jsonlines
from apo_lightning.trajectories import records


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``audit`` to the command line."""
    look = command(commands, "audit", audit, "how findings are read out of texts, sentence by sentence")
    look.add_argument(
        "file", type=Path, help="trajectories, or trajectories.jsonl, preferred.jsonl, predictions.jsonl of a run"
    )
    look.add_argument("--findings", metavar="A,B", help="what is looked for (default: the seven canonical ones)")
    look.add_argument("--texts", type=int, default=10, metavar="N", help="how many texts are shown (default: 10)")
    look.add_argument("--teacher", metavar="NAME", help="only texts of this teacher")
    look.add_argument("--thinking", action="store_true", help="read what is thought as well (thinking.judged=true)")
    look.add_argument("--csv", type=Path, metavar="FILE", help="write every sentence and what it states here too")


def audit(options: argparse.Namespace) -> None:
    """``apo audit FILE [--findings A,B] [--texts N] [--teacher NAME] [--thinking] [--csv FILE]``."""
    from apo_lightning.reports import reader_audit
    from apo_lightning.text import doubts
    from apo_lightning.text.thinking import all_as_answer

    if options.texts < 0:
        raise ConfigError(f"--texts must be 0 or more, got {options.texts}.")
    findings = named_findings(options.findings)
    rows = read(options.file)
    teachers = list(dict.fromkeys(row["teacher"] for row in rows))
    if options.teacher is not None:
        rows = [row for row in rows if row["teacher"] == options.teacher]
        if not rows:
            raise ConfigError(f"{options.file} has no teacher '{options.teacher}'. It has: {', '.join(teachers)}.")
    as_read = all_as_answer if options.thinking else str
    audited = [doubts.audit(row["study"], row["teacher"], as_read(row["text"]), findings) for row in rows]
    console = Console(highlight=False, soft_wrap=True)
    reader_audit.show(audited, findings, console, texts=options.texts)
    if options.csv:
        console.print(f"all of it: {reader_audit.write_csv(options.csv, audited, findings)}", markup=False)


def named_findings(names: str | None) -> list[str]:
    """The findings that ``--findings`` names; one that the reader does not know is looked for under its own name.

    Raises:
        ConfigError: a name that is nearly a known one.
    """
    from apo_lightning.text.mentions import MENTIONS, NO_FINDING
    from apo_lightning.text.other_names import OTHER_NAMES

    if names is None:
        return list(MENTIONS)
    known = [*MENTIONS, *OTHER_NAMES, NO_FINDING]
    wanted = list(dict.fromkeys(name.strip().lower().replace(" ", "_") for name in names.split(",") if name.strip()))
    for name in wanted:
        near = difflib.get_close_matches(name, known, 1, 0.8)
        if name not in known and near:
            raise ConfigError(
                f"--findings names '{name}'. Did you mean '{near[0]}'? Known: {', '.join(sorted(known))}."
            )
    if not wanted:
        raise ConfigError(f"--findings names none. Known: {', '.join(sorted(known))}.")
    return wanted


def read(path: Path) -> list[dict[str, Any]]:
    """Study, teacher and text of every text in a file of trajectories, one that a run has written, or any that a
    recorded teacher takes.

    Raises:
        DataError: the file cannot be read, a line is neither, or it has no texts.
    """
    if path.suffix != ".jsonl" or not path.is_file():
        return _of_others(path)
    rows: list[dict[str, Any]] = []
    for number, line in records.lines(path):
        if (own := _of_run(line)) is not None:
            rows.append({"teacher": path.stem, **own})
            continue
        try:
            row = records.parse(line)
        except ValueError as error:
            with suppress(DataError):
                return _of_others(path)
            raise DataError(f"{path}:{number}: {error}") from None
        if records.is_image(row):
            rows += [{"study": row["id"], "teacher": name, "text": text} for name, text in row["trajectories"].items()]
        else:
            rows.append(row)
    if not rows:
        raise DataError(f"{path} has no texts. Give a file of trajectories, one JSON object per line.")
    return rows


def _of_others(path: Path) -> list[dict[str, Any]]:
    from apo_lightning.own_texts import reading

    said = reading.read(path).said
    return [{"study": one.names[0], "teacher": one.teacher or path.stem, "text": one.text} for one in said]


def _of_run(line: bytes) -> dict[str, str] | None:
    """Study and text of a line of ``preferred.jsonl`` or ``predictions.jsonl``, which name no teacher."""
    try:
        row = jsonlines.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or "teacher" in row or records.is_image(row):
        return None
    own = {key: row.get(key) for key in ("study", "text")}
    return own if all(isinstance(value, str) for value in own.values()) else None
