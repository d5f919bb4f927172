"""Where a run is as a whole: arm of arms, stage of stages, and the time that the stages left take, as far as it is
known. What is told comes from stages that this run has made; a stored one takes none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from apo_lightning import config
from apo_lightning.hashing.contents import digest
from apo_lightning.progress import duration
from apo_lightning.settings import ExperimentSettings

APART = ("name", "runs_dir", "seeds", "only", "arms", "callbacks", "wandb", "stages", "evaluate", "acknowledge")
"""Settings that a stage does not share, or does not depend on."""


@dataclass(frozen=True)
class Work:
    """One arm and seed.

    Attributes:
        steps: name of each, in order, to what it is known by: two that are known by the same are made once.
    """

    arm: str
    seed: int
    steps: Mapping[str, str]


class Course:
    """The way of a run through its arms.

    Args:
        works: every arm and seed, in order.
        clock: seconds, ever growing.
    """

    def __init__(self, works: Sequence[Work] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.plan(works)

    def plan(self, works: Sequence[Work]) -> None:
        """Begin with other arms; nothing is measured yet."""
        self.works, self.made = list(works), dict[str, list[float]]()
        self.work: Work | None = None
        self.stage, self.began = "", self.clock()

    def size(self) -> str:
        """How many stages there are, those that arms share counted once: ``9 stages, of 14 in all arms``."""
        every = [(name, known) for own in self.works for name, known in own.steps.items()]
        once = len(set(every))
        return f"{once} stages" + (
            f", of {len(every)} in all arms: what arms share is made once" if once < len(every) else ""
        )

    def begin(self, arm: str, seed: int, stage: str) -> None:
        """A stage begins; one that stands in no plan has no place."""
        found = (own for own in self.works if (own.arm, own.seed) == (arm, seed) and stage in own.steps)
        self.work, self.stage, self.began = next(found, None), stage, self.clock()

    def end(self, *, stored: bool) -> None:
        """It is there."""
        if not stored:
            self.made.setdefault(self.stage, []).append(self.clock() - self.began)

    def place(self, left: float | None = None, *, whole: bool = False) -> str:
        """``arm 3 of 8, stage 2 of 4, about 12 min left``; "" where there is no plan.

        Args:
            left: seconds of the stage under way that are known to be left.
            whole: these are all of it.
        """
        if self.work is None:
            return ""
        arms = list(dict.fromkeys(own.arm for own in self.works))
        seeds = list(dict.fromkeys(own.seed for own in self.works))
        said = [f"arm {arms.index(self.work.arm) + 1} of {len(arms)}"]
        said += [f"seed {seeds.index(self.work.seed) + 1} of {len(seeds)}"] if len(seeds) > 1 else []
        said += [f"stage {list(self.work.steps).index(self.stage) + 1} of {len(self.work.steps)}"]
        return ", ".join([*said, self._left(left, whole)])

    def _left(self, left: float | None, whole: bool) -> str:
        own = self._mean(self.stage)
        here = None if own is None else max(0.0, own - (self.clock() - self.began))
        times = [left or 0.0 if here is None else max(here, left or 0.0)]
        ahead = [self._mean(name) for name in self._ahead()]
        known = (here is not None or (whole and left is not None)) and None not in ahead
        total = sum([*times, *(each for each in ahead if each is not None)])
        if not known and not total:
            return "time left not known yet"
        return f"{'about' if known else 'at least'} {duration(total)} left"

    def _mean(self, stage: str) -> float | None:
        """Seconds that a stage of this name took in this run; None: it was not made yet."""
        own = self.made.get(stage)
        return sum(own) / len(own) if own else None

    def _ahead(self) -> Iterator[str]:
        """Names of the stages that come after this one, each that arms share once."""
        assert self.work is not None
        steps = [(work, name, known) for work in self.works for name, known in work.steps.items()]
        here = next(i for i, (work, name, _) in enumerate(steps) if work is self.work and name == self.stage)
        seen = {known for _, _, known in steps[: here + 1]}
        for _, name, known in steps[here + 1 :]:
            if known not in seen:
                seen.add(known)
                yield name


RUN = Course()
"""The way of the run that this process is in."""


def work(cfg: ExperimentSettings, arm: str, seed: int, names: Sequence[str]) -> Work:
    """An arm with what its stages are known by: its settings, and those of the stages up to each. That two stages share
    a place in the store is known only once those before them are there; this is close enough for a guess of time."""
    whole = config.to_dict(cfg)
    shared = {key: value for key, value in whole.items() if key not in APART}
    own = {name: whole["stages"].get(name, whole["evaluate"]) for name in names}
    first = digest([shared["data"], shared["teachers"]])
    chain = {name: digest([shared, seed, [(n, own[n]) for n in names[: i + 1]]]) for i, name in enumerate(names)}
    return Work(arm, seed, chain | ({"collect": first} if "collect" in chain else {}))
