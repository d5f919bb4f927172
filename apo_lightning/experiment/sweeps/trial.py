"""One trial: an ordinary run whose output goes into a log, and what is kept of it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apo_lightning import signals
from apo_lightning.errors import ApoError
from apo_lightning.experiment import once, processes
from apo_lightning.experiment.sweeps import early, names, scores
from apo_lightning.experiment.sweeps.captured import captured
from apo_lightning.experiment.sweeps.file import Plan
from apo_lightning.experiment.sweeps.points import Point, said
from apo_lightning.files import jsonlines

REFERENCE = "reference"
"""Log-probs of the frozen student: no stage, but rows of a cache that stages share."""


@dataclass(frozen=True)
class Part:
    """A stage as a trial met it, or ``end`` of an attempt; a trial that was killed has several attempts.

    Attributes:
        stage: its name; empty at the end of an attempt.
        made: whether this trial made it.
        at: seconds since the attempt began.
        attempt: when that was, in seconds since 1970.
        waited: seconds of it in which another trial made the stage.
        reference: whether reference log-probs were scored (True), all found (False), or neither.
    """

    stage: str
    made: bool
    at: float
    attempt: float
    waited: float = 0.0
    reference: bool | None = None


class Journal:
    """What the attempts of a trial made, in a file that a kill leaves whole."""

    def __init__(self, path: Path) -> None:
        self.path, self.began, self.clock = path, time.time(), time.monotonic()

    @contextmanager
    def kept(self) -> Iterator[None]:
        with once.heard(self.hear):
            yield
        self._add("", False)

    def hear(self, told: once.Told) -> None:
        """A stage is there."""
        self._add(told.stage, told.made, told.waited, _reference(told))

    def _add(self, stage: str, made: bool, waited: float = 0.0, reference: bool | None = None) -> None:
        part = Part(stage, made, time.monotonic() - self.clock, self.began, waited, reference)
        jsonlines.append(self.path, asdict(part))

    def parts(self) -> list[Part]:
        return [Part(**row) for row in jsonlines.read_grown(self.path, keys=tuple(Part.__annotations__)).rows]


def _reference(told: once.Told) -> bool | None:
    counted = told.facts.get("computed", {})
    written, read = counted.get("reference rows written", 0), counted.get("reference rows read", 0)
    return True if written else (False if read else None)


def summary(parts: Sequence[Part]) -> dict[str, Any]:
    """Names of what a trial made, and of what it found; its seconds of work, over all attempts (of one that was killed,
    up to the last stage that it finished), and those that it waited for other trials."""
    stages = dict.fromkeys(part.stage for part in parts if part.stage)
    made = [name for name in stages if any(part.made for part in parts if part.stage == name)]
    reference = [part.reference for part in parts if part.reference is not None]
    spent = {part.attempt: part.at for part in parts}
    reused = [name for name in stages if name not in made] + ([REFERENCE] if reference and not any(reference) else [])
    made += [REFERENCE] if any(reference) else []
    waited = sum(part.waited for part in parts)
    work = sum(spent.values()) - waited
    return {"made": made, "reused": reused, "seconds": round(work, 1), "waited": round(waited, 1)}


Report = Callable[[int, float], bool]
"""Takes the number of a value of the metric's curve, and the value; tells whether the trial is to end there."""


def run(plan: Plan, point: Point, folder: Path, report: Report) -> tuple[float | None, dict[str, Any]]:
    """Run a trial; its output goes to ``trial<k>.log`` in ``folder``.

    Args:
        report: is asked where the sweep ends trials early.

    Returns:
        the value of the metric, None where the trial was ended early, and what the table shows: ``rows`` by arm,
        ``shares`` of teachers, how many values of its curve an ``ended`` one has, `summary`.

    Raises:
        Exception: whatever the run raises; the log has its traceback.
    """
    journal = Journal(folder / f"trial{point.number}.jsonl")
    with captured(folder / f"trial{point.number}.log", f"trial {point.number}: {said(point.parameters)}"):
        try:
            with journal.kept():
                ended = _watched(plan, point, report)
        except Exception as error:
            if not signals.behind(error):
                traceback.print_exc()
            raise
    told = {"shares": names.shares(point.cfg.teachers, list(plan.parameters)), "split": point.cfg.evaluate.split}
    told |= summary(journal.parts())
    if ended:
        return None, {"rows": [], "ended": ended, **told}
    return scores.value(plan.metric, point), {"rows": scores.results(point.folder), **told}


def _watched(plan: Plan, point: Point, report: Report) -> int:
    """Train; returns after how many values of its curve the trial was ended, 0 where it came to its end."""
    if plan.early is None or plan.metric is None:
        _train(plan, point)
        return 0
    heard: dict[int, float] = {}

    def hear(number: int, value: float) -> bool:
        heard[number] = value
        return report(number, value)

    name = plan.metric["name"]
    try:
        with early.watched(name, hear):
            _train(plan, point)
    except early.EndedError as error:
        print(error)
        return max(heard)
    for number, value in early.unreported(scores.curve(name, point), heard).items():
        report(number, value)  # others are compared with it
    return 0


def _train(plan: Plan, point: Point) -> None:
    """Here, or in processes of its own where it asks for several: none of those takes trials."""
    if processes.wanted(point.cfg.trainer):
        outcome = processes.launch(["run", str(plan.experiment), *point.overrides], point.cfg.trainer)
        if outcome.status:
            raise ApoError(outcome.message) from (RuntimeError(outcome.trace) if outcome.trace else None)
        return
    from apo_lightning.experiment import run

    run.run(point.cfg)
