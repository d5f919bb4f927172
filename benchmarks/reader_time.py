"""Whether the reader's time grows with the length of a text: each kind of ``tests/helpers/unending_texts.py`` at n and
2 n characters, read for findings and for courses. Linear is 2; more than 2.5 is marked.

    python benchmarks/reader_time.py [--length 64000]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from apo_lightning.text.labeler import _reading, reading
from apo_lightning.text.normality import normality
from apo_lightning.text.progression import read_progression
from apo_lightning.text.sentence_rules import read_sentence

sys.path.insert(0, str(Path(__file__).parents[1]))  # the texts are those of the tests

from tests.helpers.unending_texts import LONG

FINDINGS = ("edema", "mass", "no_finding", "pleural_effusion")
FLOOR = 0.02
"""Seconds below which a ratio says nothing."""


def seconds(read: Callable[[str], object], text: str) -> float:
    """The best of three, nothing remembered."""
    times = []
    for _ in range(3):
        for held in (_reading, normality, read_sentence):
            held.cache_clear()
        began = time.process_time()
        read(text)
        times.append(time.process_time() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=64_000)
    own = parser.parse_args()
    table = Table("text", "read for", f"s at {own.length:,}", f"s at {2 * own.length:,}", "ratio", title="Long texts")
    for kind, make in LONG.items():
        for name, read in (
            ("findings", lambda t: reading(t, FINDINGS)),
            ("courses", lambda t: read_progression(t, FINDINGS)),
        ):
            once, twice = (seconds(read, make(size)) for size in (own.length, 2 * own.length))
            ratio = twice / once if once >= FLOOR else 2.0
            table.add_row(kind, name, f"{once:.3f}", f"{twice:.3f}", f"{ratio:.1f}{' *' * (ratio > 2.5)}")
    Console().print(table)


if __name__ == "__main__":
    main()
