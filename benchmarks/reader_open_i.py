"""The findings reader beside Open-I's hand-made headings (``benchmarks/open_i_headings.py``), and beside other readers.

The 3,955 reports are cut in two by a hash of their ids: rules were mended by reading errors of the half ``mended``
alone, so that the half ``held back`` is a fair measure of them. Reports that nobody indexed or that have no text are
left out. Prints Markdown: per finding precision, recall and F1 of present findings, with hedged ones and without (the
indexers mostly leave out what is only supposed); sides and severities; how often a plain and a hedged finding is
indexed; and the same of other readers that can be imported (``benchmarks/other_readers.py``). ``--keep`` writes the
counts, and ``--before`` puts those of an earlier version beside them: the same script with ``PYTHONPATH`` set to its
checkout.

    python benchmarks/reader_open_i.py FOLDER [--phrases FOLDER] [--keep NOW.json] [--before THEN.json]
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from open_i_headings import TERMS, Label, label
from other_readers import OTHERS, Present

from apo_lightning.text.labeler import sentences, stated
from data_modules.archives.open_i_layouts import Report, find_reports, read_reports
from data_modules.open_i import NOT_INDEXED, OpenI

HALVES = ("mended", "held back")
FINDINGS = tuple(TERMS)
Counts = dict[str, dict[str, int]]
"""Half, a slash, finding -> true positives, false positives, false negatives."""


@dataclass(frozen=True)
class Read:
    """What our reader makes of one report: present findings, those hedged in each sentence, sides, severities."""

    present: frozenset[str]
    hedged: frozenset[str]
    sides: Mapping[str, str]
    grades: Mapping[str, str]


@dataclass(frozen=True)
class Case:
    half: str
    text: str
    label: Label


def cases(reports: Sequence[Report]) -> list[Case]:
    found = []
    for report in reports:
        text = " ".join(filter(None, (report.sections.get(name) for name in ("findings", "impression")))).strip()
        if text and NOT_INDEXED not in report.headings:
            half = HALVES[hashlib.sha256(report.uid.encode()).digest()[0] % 2]
            found.append(Case(half, text, label(report.headings)))
    return found


def ours(text: str) -> Read:
    said = sentences(text, FINDINGS)
    present = frozenset(name for name, value in stated(said).items() if value == 1 and name in TERMS)
    sides: dict[str, str] = {}
    grades: dict[str, str] = {}
    sure = set()
    for sentence in said:
        sides |= sentence.sides
        grades |= getattr(sentence, "severities", {})  # versions before 0.6 have none
        sure |= {name for name, value in sentence.values.items() if value == 1} - getattr(sentence, "hedged", set())
    return Read(present, present - sure, sides, grades)


def count(found: Sequence[Case], read: Sequence[frozenset[str]], known: Sequence[str] = FINDINGS) -> Counts:
    """Of ``known`` findings, over the cases of each half."""
    counts: Counts = {f"{half}/{name}": dict.fromkeys(("tp", "fp", "fn"), 0) for half in HALVES for name in known}
    for case, said in zip(found, read, strict=True):
        for name in known:
            cell = {(True, True): "tp", (False, True): "fp", (True, False): "fn"}.get(
                (name in case.label.present, name in said)
            )
            if cell:
                counts[f"{case.half}/{name}"][cell] += 1
    return counts


def scores(cell: Mapping[str, int]) -> tuple[float, float, float]:
    """Precision, recall, F1."""
    tp, fp, fn = (cell[key] for key in ("tp", "fp", "fn"))
    return tp / max(1, tp + fp), tp / max(1, tp + fn), 2 * tp / max(1, 2 * tp + fp + fn)


def summed(counts: Counts, half: str, known: Sequence[str] = FINDINGS) -> dict[str, int]:
    return {key: sum(counts[f"{half}/{name}"][key] for name in known) for key in ("tp", "fp", "fn")}


def interval(found: Sequence[Case], read: Sequence[frozenset[str]], half: str) -> tuple[float, float]:
    """95 % bootstrap interval over reports of the micro F1."""
    rows = np.array(
        [
            [len(case.label.present & said), len(said - case.label.present), len(case.label.present - said)]
            for case, said in zip(found, read, strict=True)
            if case.half == half
        ]
    )
    picked = np.random.default_rng(0).multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=1000) @ rows
    low, high = np.quantile(2 * picked[:, 0] / (2 * picked[:, 0] + picked[:, 1] + picked[:, 2]), [0.025, 0.975])
    return float(low), float(high)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [list(head), ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def short(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}".removeprefix("0") for value in values)


def per_finding(now: Counts, before: Counts | None) -> str:
    """Precision, recall and F1 on both halves; F1 before in the cell in front."""
    rows = []
    for name in (*FINDINGS, "all"):
        row: list[object] = [name.replace("_", " ")]
        for half in HALVES:
            cells = [summed(c, half) if name == "all" else c[f"{half}/{name}"] for c in (before, now) if c is not None]
            row += [cells[-1]["tp"] + cells[-1]["fn"], *(short(scores(cell)) for cell in cells)]
        rows.append(row)
    kinds = ["P R F1 before", "P R F1"] if before else ["P R F1"]
    return table(["finding", *(c for half in HALVES for c in (f"{half}: indexed", *kinds))], rows)


def qualities(found: Sequence[Case], read: Sequence[Read], half: str) -> str:
    """Sides and severities of findings that are both indexed and read as present, of one half."""
    rows = []
    for kind, wanted, given in (
        ("side", lambda case: case.label.sides, lambda said: said.sides),
        ("severity", lambda case: case.label.grades, lambda said: said.grades),
    ):
        pairs = [
            (wanted(case)[name], given(said).get(name))
            for case, said in zip(found, read, strict=True)
            if case.half == half
            for name in sorted(case.label.present & said.present)
            if name in wanted(case)
        ]
        named = [(want, got) for want, got in pairs if got]
        right = sum(want == got for want, got in named)
        wrong = Counter(f"{want} as {got}" for want, got in named if want != got)
        most = ", ".join(f"{what} {times}" for what, times in wrong.most_common(4))
        rows.append([kind, len(pairs), len(named), right, f"{right / max(1, len(named)):.3f}", most])
    return table(["", "indexed", "read", "right", "share right of those read", "most frequent errors"], rows)


def indexed(found: Sequence[Case], read: Sequence[Read], half: str) -> str:
    """Of findings read as present, plainly or in every sentence with doubt: how many are indexed."""
    rows = []
    for kind, chosen in (("plain", lambda r: r.present - r.hedged), ("hedged", lambda r: r.hedged)):
        pairs = [
            name in case.label.present
            for case, said in zip(found, read, strict=True)
            if case.half == half
            for name in chosen(said)
        ]
        rows.append([kind, len(pairs), sum(pairs), f"{sum(pairs) / max(1, len(pairs)):.3f}"])
    return table(["said", "read as present", "of which indexed", "share"], rows)


def others(found: Sequence[Case], read: Sequence[frozenset[str]], phrases: Path | None) -> str:
    """Micro F1 of other readers on the held-back half, of those findings that each knows, and ours on the same."""
    rows = []
    texts = [case.text for case in found]
    for name, make in OTHERS.items():
        made: tuple[tuple[str, ...], Callable[[str], Present]] | str = make(phrases)
        if isinstance(made, str):
            rows.append([name, made, "", "", ""])
            continue
        known, reader = made
        known = tuple(finding for finding in FINDINGS if finding in known)
        cells = []
        for said in ([reader(text) for text in texts], read):
            counts = count(found, said, known)
            cells.append(summed(counts, "held back", known))
            macro = np.mean([scores(counts[f"held back/{finding}"])[2] for finding in known])
            cells[-1] |= {"macro": macro}
        rows.append([name, len(known), *(f"{short(scores(c))} / {short([c['macro']])}" for c in cells)])
    return table(["reader", "findings", "its P R F1 / macro F1", "ours on the same"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds the reports and the folder of images, as docs/data.md says")
    parser.add_argument("--reports", default="NLMCXR_reports.tgz")
    parser.add_argument("--phrases", type=Path, help="phrases/mention of a clone of chexpert-labeler (MIT)")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--before", type=Path)
    own = parser.parse_args()
    data = OpenI(root=str(own.folder), index_file=own.reports)
    found = cases(read_reports(data, find_reports(own.folder, own.reports)))
    read = [ours(case.text) for case in found]
    before = json.loads(own.before.read_text()) if own.before else {}
    kept = {}
    halves = {half: sum(case.half == half for case in found) for half in HALVES}
    print(", ".join(f"{half}: {size:,} reports" for half, size in halves.items()))
    for kind, chosen in (
        ("hedged findings count", [r.present for r in read]),
        ("hedged findings left out", [r.present - r.hedged for r in read]),
    ):
        kept[kind] = count(found, chosen)
        intervals = "; ".join(f"{half} {short(interval(found, chosen, half))}" for half in HALVES)
        print(f"\n### {kind}\n\nMicro F1, 95 % over reports: {intervals}\n")
        print(per_finding(kept[kind], before.get(kind)))
    for half in HALVES:
        print(f"### {half}\n\n{qualities(found, read, half)}\n{indexed(found, read, half)}")
    print(f"### others, {HALVES[1]}\n\n{others(found, [r.present for r in read], own.phrases)}")
    if own.keep:
        own.keep.write_text(json.dumps(kept))


if __name__ == "__main__":
    main()
