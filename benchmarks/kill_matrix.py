"""Kills at random moments: does the same command, given again, end as if nobody had disturbed it?

    python benchmarks/kill_matrix.py [--kills 40] [--seed 0] [--only single ddp] [--out build/kill_matrix]

Each kind of command (`kill_kinds.py`: a run in one process, in two under DDP and FSDP2, `collect`, `report`, `sweep`)
runs undisturbed once. Then it is started in a folder of its own, killed at a moment that is uniform over the time of a
phase that is drawn, started again, killed again, and at last runs to its end; signals 9, TERM and INT are drawn, and
whether they reach all processes, the launcher or one rank. What it leaves is then compared with what the undisturbed
one left (`kill_compare.py`): the same files and no others, tables, answers, weights and metrics equal to the last bit,
each answer exactly once, every stored stage as its manifest says. A row a kill is appended to ``kills.jsonl``; the same
command goes on behind what is there. Status 1 if anything is not equal.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kill_compare import differences
from kill_kinds import KINDS, START, Going, Kind, collecting

from apo_lightning.console import Console
from tests.helpers.faulty_server import Faulty, completion, served

TURNS = ("single", "ddp", "collect", "sweep", "report", "single", "fsdp2", "ddp")
"""Kinds, one torn life each, again and again."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TOLD = re.compile(r"continuing from|taken over from|going back|in the store|asked again|on disk|: waiting for")
COLUMNS = ("kind", "processes", "phase", "fell", "signal", "target", "moment", "status", "next", "verdict")


class Matrix:
    """Undisturbed and torn lives below one folder.

    Attributes:
        clocks: by kind, seconds from the start of the undisturbed command to the beginning of each phase and its end.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.clocks: dict[str, list[float]] = {}

    def calm(self, kind: Kind) -> Path:
        """Where the undisturbed command of a kind has worked."""
        place, clock = self.folder / "calm" / kind.name, self.folder / "calm" / f"{kind.name}.json"
        if kind.name not in self.clocks:
            base = self.calm(KINDS["single"]) if kind.name == "report" else place
            if not clock.exists():
                _fresh(place)
                clock.write_text(json.dumps(self._undisturbed(kind, place, base)))
            self.clocks[kind.name] = json.loads(clock.read_text())
        return place

    def _undisturbed(self, kind: Kind, place: Path, base: Path) -> list[float]:
        kind.made(place, base)
        times = []
        with ExitStack() as stack:
            going = Going(place, [*kind.words, *_asked(kind, stack)[1]], self.folder / f"{kind.name}-calm.log")
            for phase in kind.phases:
                going.until(lambda phase=phase: phase.begun(place))
                times.append(going.age)
            if going.end() != 0:
                raise SystemExit(f"the undisturbed {kind.name} failed:\n{going.said[-3000:]}")
        return [*times, going.age]

    def life(self, kind: Kind, number: int) -> list[dict[str, Any]]:
        """Kill a command several times, let it end, compare. Returns a row a kill that took place."""
        lot, calm = random.Random(f"{self.seed} {kind.name} {number}"), self.calm(kind)
        torn = _fresh(self.folder / "torn")
        kind.made(torn, self.calm(KINDS["single"]) if kind.name == "report" else torn)
        drawn = lot.sample if kind.kills <= len(kind.phases) else lot.choices
        phases = sorted(drawn(range(len(kind.phases)), k=kind.kills))
        rows: list[dict[str, Any]] = []
        with ExitStack() as stack:
            own, words = _asked(kind, stack)
            for phase in phases:
                going = Going(torn, [*kind.words, *words], self.folder / f"{kind.name}-{number}-{len(rows)}.log")
                _tell(rows, row := self._kill(kind, going, phase, lot))
                rows.append({"life": number, "kind": kind.name, "processes": kind.processes, **row})
                if "signal" not in row:
                    break
            else:
                going = Going(torn, [*kind.words, *words], self.folder / f"{kind.name}-{number}-end.log")
                _tell(rows, {"status": going.end(), "log": going.said})
                rows.append({"status": going.process.returncode, "log": going.said})
        return _judged(rows, [*differences(calm, torn), *_asked_twice(own)])

    def _kill(self, kind: Kind, going: Going, number: int, lot: random.Random) -> dict[str, Any]:
        """One kill; without ``signal`` where the command came to its end before."""
        phase, clock, place = kind.phases[number], self.clocks[kind.name], going.folder
        length = clock[number + 1] - clock[number]
        share, signum, target = lot.random(), lot.choice(SIGNALS), lot.choice(_targets(kind))
        again = number > 0 and phase.begun(place)  # what comes before it is then done, and only imports are not
        going.until(lambda: phase.begun(place))
        until = share * (length + (clock[1] if again else 0.0)) + (going.age if not again else 0.0)
        row: dict[str, Any] = {"phase": phase.name, "share": round(share, 3)}
        if going.until(lambda: going.age >= until):
            imports = kind.phases[0] is START and not going.said
            fell = "imports" if imports else [p for p in kind.phases if p.begun(place)][-1].name
            row |= {"fell": fell, "signal": signum.name, "moment": round(going.age, 2)}
            row["target"] = going.kill(signum, target)
        status = going.end()
        if row.get("signal") and status == 0:  # it was about to end, and ended well
            row.pop("signal")
        return row | {"status": status, "log": going.said}


def _tell(rows: list[dict[str, Any]], row: dict[str, Any]) -> None:
    """To the kill before, what the command said that came next."""
    if rows:
        found = [line.strip() for line in row["log"].splitlines() if TOLD.search(line)]
        rows[-1]["next"] = found[-1] if found else ""


def _asked(kind: Kind, stack: ExitStack) -> tuple[Faulty | None, list[str]]:
    """The server that a kind asks, and its address as settings."""
    if not kind.served:
        return None, []
    own = Faulty(say=lambda name: completion(f"No edema. {name}"), delay=0.05)
    return own, collecting(stack.enter_context(served(own)))


def _asked_twice(own: Faulty | None) -> list[str]:
    paid = [name for name, count in own.given.items() if count > 1] if own else []
    return [f"{len(paid)} answers were paid for twice"] if paid else []


def _targets(kind: Kind) -> tuple[str, ...]:
    return ("all", "launcher", "rank 0", "rank 1") if kind.processes > 1 else ("all",)


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _judged(rows: list[dict[str, Any]], found: list[str]) -> list[dict[str, Any]]:
    """Rows of kills, with the verdict of their life and what was wrong with their own end."""
    *_, last = rows
    if last["status"] != 0:
        found = [f"the last command ended with status {last['status']}", *found]
    kills = [row for row in rows if "signal" in row]
    for row in kills:
        wrong = _wrong_end(row)
        row["verdict"] = "equal" if not (found or wrong) else "NOT EQUAL" if found else "WRONG END"
        row["found"] = [*wrong, *found]
    return [{key: value for key, value in row.items() if key != "log"} for row in kills]


def _wrong_end(row: dict[str, Any]) -> list[str]:
    """How a command that was killed must end: by the signal, with its status, or 1 where a rank of it died."""
    signum, status = signal.Signals[row["signal"]], row["status"]
    if status is None:
        return ["it hung after the signal"]
    allowed = {1} if row["target"].startswith("rank") else {-signum, 128 + signum}
    wrong = [] if status in allowed else [f"it ended with status {status}, not {sorted(allowed)}"]
    if "Traceback" in row["log"] and row["fell"] != "imports":
        wrong.append("it ended with a traceback")
    return wrong


def lives(only: Sequence[str]) -> Iterator[tuple[Kind, int]]:
    """Kinds in turn, with a number each, without end."""
    turns = [name for name in TURNS if name in only]
    for number in range(10**6):
        yield KINDS[turns[number % len(turns)]], number


def shown(rows: Sequence[dict[str, Any]]) -> Table:
    """The table that the program ends with."""
    table = Table(title="kills, and what the same command made of them", show_lines=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("processes", "moment", "status") else "left")
    for row in rows:
        table.add_row(*(str(row.get(name, "")) for name in COLUMNS))
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40, help="at least so many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of phases, moments, signals and targets")
    parser.add_argument("--only", nargs="+", choices=sorted(KINDS), default=sorted(KINDS), metavar="KIND")
    parser.add_argument("--out", type=Path, default=Path("build/kill_matrix"), help="default: %(default)s")
    given = parser.parse_args()
    for signum in (signal.SIGINT, signal.SIGTERM):  # in the background of a shell they are ignored, here and below
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
    folder = given.out.absolute() / f"seed{given.seed}-{'-'.join(sorted(given.only)) if len(given.only) < 6 else 'all'}"
    folder.mkdir(parents=True, exist_ok=True)
    rows = kills(folder, given.seed, given.kills, given.only)
    console = Console()
    console.print(shown(rows))
    for row in rows:
        for what in row["found"]:
            console.print(f"{row['kind']} (life {row['life']}): {what}", markup=False, style="red")
    counted = Counter(row["verdict"] for row in rows)
    console.print(f"{len(rows)} kills: {dict(counted)}; rows: {folder}/kills.jsonl", markup=False)
    return int(counted.total() != counted["equal"])


def kills(folder: Path, seed: int, count: int, only: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of at least ``count`` kills, those of an earlier call included."""
    journal, matrix = folder / "kills.jsonl", Matrix(folder, seed)
    rows = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    done = max((row["life"] for row in rows), default=-1)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar, journal.open("a") as file:
        task = bar.add_task("kills", total=count, completed=len(rows))
        for kind, number in lives(only):
            if len(rows) >= count:
                break
            if number > done:
                bar.update(task, description=f"kills ({kind.name})")
                began, new = time.monotonic(), matrix.life(kind, number)
                file.writelines(json.dumps(row) + "\n" for row in new)
                file.flush()
                rows += new
                bar.update(task, completed=len(rows))
                said = "; ".join(f"{r['signal']} to {r['target']} in {r['fell']}: {r['verdict']}" for r in new)
                bar.console.print(f"{kind.name} {number}: {said} ({time.monotonic() - began:.0f} s)", markup=False)
    return rows


if __name__ == "__main__":
    sys.exit(main())
