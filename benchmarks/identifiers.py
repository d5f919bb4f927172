"""Ways of writing identifiers, tried on small made-up copies of every set: is the same found as in the clean tables?

A row is a way, a column a join: a table whose identifiers are written anew, and what is counted (patients left out of
training, studies that a list or a teacher's file names, patients that the splits keep together). A cell is the count
where it is the clean one, ``fault`` where the way is refused by name, and in bold where it is another. "-" stands where
the identifier is no number, which the way is about.

    python benchmarks/identifiers.py [--faults]
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the made-up sets are those of the tests

from tests.helpers.identifier_joins import JOINS, WAYS, Join, outcome


def cells(join: Join) -> dict[str, tuple[str, str]]:
    """Way to a cell and the message of the fault."""
    clean, _ = outcome(join, WAYS["clean"])
    found = {}
    for name, way in join.ways().items():
        count, why = outcome(join, way)
        found[name] = ("fault" if count is None else str(count) if count == clean else f"**{count}**", why)
    return found


def main() -> None:
    """Print the table, and with ``--faults`` each message."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--faults", action="store_true", help="print the messages too")
    logging.disable(logging.WARNING)
    rows = {join.name: cells(join) for join in JOINS}
    print(f"| way | {' | '.join(map(str, range(1, len(JOINS) + 1)))} |\n|{'---|' * (len(JOINS) + 1)}")
    for way in WAYS:
        print(f"| {way} | {' | '.join(found.get(way, '-')[0] for found in rows.values())} |")
    print("\n" + "\n".join(f"{number}. {name}" for number, name in enumerate(rows, 1)))
    if parser.parse_args().faults:
        for name, found in rows.items():
            print("\n" + "\n".join(f"{name}, {way}: {why}" for way, (_, why) in found.items() if why))


if __name__ == "__main__":
    main()
