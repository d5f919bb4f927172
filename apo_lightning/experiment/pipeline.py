"""The steps of one arm and seed, in order. A step that is already in the store is not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from apo_lightning import leader
from apo_lightning.experiment import explain, long_texts, overall, rejecting, rounds
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.steps.base import Step
from apo_lightning.experiment.steps.collect import Collect
from apo_lightning.experiment.steps.evaluate import Evaluate, EvaluateSet
from apo_lightning.experiment.steps.fit import Fit
from apo_lightning.experiment.steps.fit_informed import FitInformed
from apo_lightning.experiment.steps.generate import Generate
from apo_lightning.experiment.steps.reject import Reject
from apo_lightning.experiment.steps.weigh import Weigh
from apo_lightning.experiment.weighing import STEP, weighs
from apo_lightning.stages import STAGES


def steps(own: Context) -> Iterator[tuple[str, Callable[[], Step]]]:
    """Name of each step of an arm, and what makes it once those before it are done."""
    yield "collect", lambda: Collect(own)
    if own.stages and weighs(own.cfg):
        yield STEP, lambda: Weigh(own)
    written = [name for name, made in rejecting.others(own.cfg, own.arm) if made.writes]
    for name in own.stages:
        if name in written:
            yield rejecting.step_of(name), lambda name=name: Reject(rounds.of_step(own, name), name)
        yield name, lambda name=name: _kind(name)(rounds.of_step(own, name), name)
    yield "evaluate", lambda: Evaluate(rounds.of_step(own, "evaluate"))
    for name in own.sets:
        yield f"evaluate_{name}", lambda name=name: EvaluateSet(own, name)


def _kind(name: str) -> Callable[[Context, str], Step]:
    """What does the work of a stage."""
    stage = STAGES.lookup(name)
    if "student" not in stage.writes:
        return Generate
    return FitInformed if getattr(stage, "reads_reports", False) else Fit


def plan(own: Context) -> overall.Work:
    """What is to be done for an arm and seed."""
    return overall.work(own.cfg, own.arm, own.seed, [name for name, _ in steps(own)])


def run(own: Context) -> Context:
    """Do all steps of an arm and link their folders; returns the arm with all that is done."""
    for name, step in steps(own):
        overall.RUN.begin(own.arm, own.seed, name)
        with explain.where(own, name):
            own.done[name] = step().make()
            if name == "collect":
                long_texts.tell(own)
        if leader.is_leader():
            own.folder.link(own.arm, own.seed, own.done[name])
    return own
