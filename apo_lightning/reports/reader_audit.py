"""``apo audit`` on the terminal and as CSV: how texts were read, sentence by sentence, the doubtful first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from apo_lightning.console import Console, print_whole
from apo_lightning.files import formats
from apo_lightning.text.doubts import Audited
from apo_lightning.text.labeler import KINDS

COLUMNS = ("study", "teacher", "kind", "doubts", "start", "end", "sentence", "finding", "value", "side")
_WORDS = {1.0: ("present", "green"), 0.0: ("absent", "cyan")}


def by_doubt(audited: Sequence[Audited]) -> list[Audited]:
    """The most doubtful first, else in the order of the file."""
    return sorted(audited, key=lambda one: -len(one.doubts))


def show(audited: Sequence[Audited], findings: Sequence[str], console: Console, *, texts: int) -> None:
    """Print the shares by teacher, the counts by finding, and the ``texts`` most doubtful texts."""
    print_whole(_teachers(audited), console)
    print_whole(_findings(audited, findings), console)
    for one in by_doubt(audited)[:texts]:
        _show_text(one, findings, console)
    left = len(audited) - min(texts, len(audited))
    if left:
        console.print(f"{left} more texts: --texts {len(audited)} shows all, --csv FILE writes all.", style="dim")


def write_csv(path: Path, audited: Sequence[Audited], findings: Sequence[str]) -> Path:
    """One row per sentence and finding, and one for each sentence that states nothing."""
    return formats.write_csv(path, COLUMNS, _lines(audited, findings))


def _lines(audited: Sequence[Audited], findings: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for one in by_doubt(audited):
        head = (one.study, one.teacher, one.reading.kind, "; ".join(one.doubts))
        for start, end, said in _sentences(one, findings):
            for name, value, side in said or [("", "", "")]:
                yield *head, start, end, one.text[start:end], name, value, side


def _sentences(one: Audited, findings: Sequence[str]) -> Iterator[tuple[int, int, list[tuple[str, str, str]]]]:
    """Start, end, and what is stated as (finding, word, side), in the order of the text."""
    rows = [(start, end, []) for start, end in one.reading.silent]
    for sentence in one.reading.stated:
        sides = {**sentence.sides, **sentence.denied_sides}
        said = [(n, _WORDS[v][0], sides.get(n, "")) for n, v in sentence.values.items() if n in findings]
        rows.append((sentence.start, sentence.end, said))
    yield from sorted(rows, key=lambda row: row[:2])


def _teachers(audited: Sequence[Audited]) -> Table:
    table = Table(
        "", "texts", *(f"{kind} %" for kind in KINDS), "doubtful %", title="Kinds of texts", title_justify="left"
    )
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify = "right"
    for teacher in [*dict.fromkeys(one.teacher for one in audited), None]:
        own = [one for one in audited if teacher in (None, one.teacher)]
        kinds = Counter(one.reading.kind for one in own)
        counts = [*(kinds[kind] for kind in KINDS), sum(bool(one.doubts) for one in own)]
        table.add_row(Text(teacher or "all"), str(len(own)), *(f"{100 * n / max(len(own), 1):.1f}" for n in counts))
    return table


def _findings(audited: Sequence[Audited], findings: Sequence[str]) -> Table:
    table = Table("", "present", "absent", "not stated", title="Findings", title_justify="left")
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify = "right"
    for name in findings:
        counts = Counter(one.values.get(name) for one in audited)
        table.add_row(Text(name), str(counts[1.0]), str(counts[0.0]), str(counts[None]))
    return table


def _show_text(one: Audited, findings: Sequence[str], console: Console) -> None:
    head = Text(f"\n{one.study} · {one.teacher} · {one.reading.kind}", style="bold")
    head.append("".join(f"\n  ? {doubt}" for doubt in one.doubts), style="yellow")
    console.print(head)
    if not one.reading.stated and not one.reading.silent:
        console.print(Text(f"  {one.text[:400].strip() or '(no text)'}", style="dim"))
    for start, end, said in _sentences(one, findings):
        line = Text("  ").append(" ".join(one.text[start:end].split()), style="" if said else "dim")
        for name, word, side in (
            said if len(said) < len(findings) or len(findings) == 1 else [("every finding", "absent", "")]
        ):
            style = _WORDS[1.0][1] if word == "present" else _WORDS[0.0][1]
            line.append(f"\n      {name}: {word}{f', {side}' if side else ''}", style=style)
        console.print(line)
