"""What a run says of the texts that it reads from files: how they were matched, what was not, and whether they say
anything about the findings."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apo_lightning.own_texts.matching import Matched, shares
from apo_lightning.own_texts.reading import Texts
from apo_lightning.teachers.recorded import Recorded
from apo_lightning.text.labeler import kind
from apo_lightning.types import Study

SHOWN = 3
READ = 200
"""Texts of a teacher that are read for findings, spread over all of them."""
SILENT = ("refused", "nothing")
MUTE = 0.2
"""Share of texts that state no finding, from which on somebody should look."""


def tell(teachers: Mapping[str, Any], studies: Sequence[Study], findings: Sequence[str]) -> tuple[list[str], dict]:
    """Lines for the terminal, and what the manifest holds: teacher to how many texts were matched by what, and how
    many texts and studies were not."""
    said_of, facts, files = dict[str, list[str]](), dict[str, Any](), dict[str, Texts]()
    for name, teacher in teachers.items():
        if type(teacher) is not Recorded:
            continue
        texts, own = teacher.texts(), teacher.matched(studies)
        files[teacher.path] = texts
        said = [one.text for one in own.said.values()]
        facts[name] = {"by": dict(own.by), "strangers": len(own.strangers), "silent": len(own.silent)}
        for line in (_count(own, len(studies)), *_misses(own), *_mute(teacher, said, findings)):
            said_of.setdefault(line, []).append(name)
    lines = [f"{', '.join(names)}: {line}" for line, names in said_of.items()]
    return [*(line for path, texts in files.items() for line in _of_file(path, texts)), *lines], facts


def _of_file(path: str, texts: Texts) -> list[str]:
    """Columns that were read, those that were not, and rows without a text, in a line."""
    used = {what: ", ".join(columns) for what, columns in texts.used.items() if columns}
    parts = [f"{what} in '{columns}'" for what, columns in used.items()]
    if aside := [name for name in texts.aside if name]:
        parts.append(f"not read: {_few(aside, 12)}")
    if texts.without:
        parts.append(f"{texts.without:,} without a text")
    if texts.faults:
        where, why = texts.faults[0]
        parts.append(f"{len(texts.faults):,} rows of no use, first {where} {why}")
    return [f"{path}: {'; '.join(parts)}"] if aside or texts.without or texts.faults else []


def _count(own: Matched, studies: int) -> str:
    return f"texts on {len(own.said):,} of {studies:,} studies, {shares(own.by)}"


def _misses(own: Matched) -> list[str]:
    lines = []
    if own.strangers:
        lines.append(f"{len(own.strangers):,} texts name no study here, as {_few(own.strangers)}")
    if own.refused:
        why = next(iter(own.refused.values()))
        lines.append(f"{len(own.refused):,} texts may be about several studies and are left out: {why}")
    if own.again:
        lines.append(f"{len(own.again):,} studies have several texts, as {_few(own.again)}; one counts (repeated)")
    if own.silent:
        lines.append(f"{len(own.silent):,} studies have no text, as {_few(own.silent)}")
    return lines


def _mute(teacher: Recorded, said: Sequence[str], findings: Sequence[str]) -> list[str]:
    """The offer of an audit, where many texts state nothing."""
    some = said[:: max(1, len(said) // READ)][:READ]
    count = sum(kind(text, findings) in SILENT for text in some)
    if not some or count < MUTE * len(some):
        return []
    of = f" that were looked at, of {len(said):,}" if len(some) < len(said) else ""
    return [
        f"{count:,} of {len(some):,} texts{of} state none of the findings: see how they are read by 'apo audit "
        f"{shlex.quote(teacher.path)}'"
    ]


def _few(names: Iterable[str], most: int = SHOWN) -> str:
    names = list(dict.fromkeys(names))
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most and most > SHOWN else "")
