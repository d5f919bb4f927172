"""What comes of odd tables: every file that a data set, a teacher or an importer reads, in every form that exports,
spreadsheets, downloads and hands leave (``tests/helpers/odd_*.py``).

A table with a line per set: how many forms were tried, read rightly (the clean file's studies), refused rightly (an
error that names the file, and row, column and value where one is odd), read as other studies without a word (silent),
ended in a traceback (crash), or refused unclearly. ``--show`` prints those of the last three kinds.

    python benchmarks/odd_tables.py [--only NAME] [--show]
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

import data_modules.base

sys.path.insert(0, str(Path(__file__).parents[1]))  # the forms are those of the tests

from tests.helpers.odd_documents import DOCUMENTS
from tests.helpers.odd_sets import TARGETS, Bench

KINDS = ("right", "refused", "silent", "crash", "unclear")


def tried(target: object, show: Console | None) -> Counter[str]:
    """How often each of ``KINDS`` comes of a file's forms."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(target, Path(folder))
        for form in bench.forms:
            outcome = bench.outcome(form)
            found[outcome.kind] += 1
            if show and outcome.kind in KINDS[2:]:
                show.print(f"{outcome.kind}: {bench.path.name}, {form}: {outcome.text[:600]}", markup=False)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="sets and files whose name contains it")
    parser.add_argument("--show", action="store_true")
    own = parser.parse_args()
    logging.disable(logging.WARNING)
    data_modules.base.find_bad_images = lambda *_, **__: ({}, set())  # type: ignore[assignment]  # images are not odd
    console, sums = Console(width=120), dict[str, Counter[str]]()
    for target in (*TARGETS, *DOCUMENTS):
        if own.only in f"{target.name} {target.file}":
            found = tried(target, console if own.show else None)
            sums.setdefault(target.name, Counter()).update(found)
    table = Table("set", "tried", *KINDS, title="Odd tables")
    for name, found in [*sums.items(), ("all", sum(sums.values(), Counter()))]:
        table.add_row(name, str(found.total()), *(str(found[kind]) for kind in KINDS))
    console.print(table)


if __name__ == "__main__":
    main()
