"""The study of a sweep: every trial in Optuna's SQLite file, each held by the one worker that runs it.

A worker that dies loses its hold (`files.locks`), and its trial is run again under its own number, from what its stages
have stored. What was not begun waits. So a trial is neither lost nor doubled, however many workers share the file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from apo_lightning.errors import ArtifactError
from apo_lightning.experiment.run_folder import differences
from apo_lightning.experiment.sweeps import proposals
from apo_lightning.experiment.sweeps.file import BAYES, Plan
from apo_lightning.files import locks
from apo_lightning.files.atomic import removal, replacing

FILE = "study.db"
NUMBER, SETTLED, LAG, RESULT, ERROR = "trial", "sweep", "workers", "result", "error"
"""What a trial and the study keep beside Optuna's own."""
PERIOD = 2.0
"""Seconds between two looks for a trial while others run theirs."""
PATIENCE = 60
"""Seconds that one process waits for another's write."""
DONE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class Record:
    """The study in ``folder``.

    Args:
        folder: of the sweep.
        plan: what it asks for.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self.storage = _storage(folder / FILE)
        pruner = plan.early.pruner() if plan.early else None
        self.study = optuna.load_study(study_name=plan.path.stem, storage=self.storage, pruner=pruner)

    def close(self) -> None:
        """Let go of the file."""
        _close(self.storage)

    @property
    def trials(self) -> dict[int, FrozenTrial]:
        """Number (from 0) to the trial; of one that failed and was run again, the last."""
        found = {t.user_attrs[NUMBER]: t for t in self.study.get_trials(deepcopy=False)}
        return dict(sorted(found.items()))

    @contextmanager
    def turn(self) -> Iterator[FrozenTrial | None]:
        """Hold the next trial that nobody runs; where all that are left are run by others, wait for these. None: all
        are done."""
        with ExitStack() as hold:
            taken, left = None, True
            while left and not taken:
                with self.alone():
                    taken, left = self._free()
                    if taken:  # before another worker looks
                        hold.enter_context(locks.held(self._lock(taken), "", _unsaid))
                        self._begin(taken)
                if left and not taken:
                    time.sleep(PERIOD)
            yield taken

    def _free(self) -> tuple[FrozenTrial | None, bool]:
        """A trial to run, and whether any is still to be done."""
        trials, count = self.trials, self.plan.count or 0
        left = [t for number, t in trials.items() if t.state not in DONE and number < count]
        for trial in left:
            if trial.state == TrialState.WAITING or self._is_left_behind(trial):
                return trial, True
        if self.plan.method == BAYES and len(trials) < count and self._may_draw(trials):
            return self._drawn(trials), True
        return None, bool(left) or len(trials) < count

    def _is_left_behind(self, trial: FrozenTrial) -> bool:
        """Whether its worker is gone. One that has just finished has also let go, so the state is read once more."""
        return not locks.alive(self._lock(trial)) and self.storage.get_trial(trial._trial_id).state not in DONE

    def _may_draw(self, trials: Mapping[int, FrozenTrial]) -> bool:
        """All that the next trial learns from are done: those before it, but for as many as other workers run."""
        return all(trials[number].state in DONE for number in range(len(trials) - self.lag + 1))

    @property
    def lag(self) -> int:
        return self.study.user_attrs[LAG]

    def _drawn(self, trials: Mapping[int, FrozenTrial]) -> FrozenTrial:
        """The next trial of a Bayesian search; what ended earlier than it needs to is not looked at."""
        number = len(trials)
        known = [trials[n] for n in range(number - self.lag + 1)]
        drawn = proposals.draw(self.plan, number, [_lesson(t) for t in known if t.state == TrialState.COMPLETE])
        _add(self.study, self.plan, number, drawn)
        return self.trials[number]

    def _begin(self, trial: FrozenTrial) -> None:
        if trial.state == TrialState.WAITING:
            self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)

    def report(self, trial: FrozenTrial, number: int, value: float) -> bool:
        """Keep a value of the curve that the sweep optimises; returns whether the trial is to end there.

        Args:
            number: of the value, from 1.
        """
        self.storage.set_trial_intermediate_value(trial._trial_id, number, value)
        return self.study.pruner.prune(self.study, self.storage.get_trial(trial._trial_id))

    def end(self, trial: FrozenTrial, result: Mapping[str, Any]) -> None:
        """Keep that a trial was ended early; its value is the last that was reported."""
        self.storage.set_trial_user_attr(trial._trial_id, RESULT, dict(result))
        self.study.tell(trial.number, state=TrialState.PRUNED)

    def finish(self, trial: FrozenTrial, value: float, result: Mapping[str, Any]) -> None:
        """Keep what a trial came to."""
        self.storage.set_trial_user_attr(trial._trial_id, RESULT, dict(result))
        self.study.tell(trial.number, value)

    def fail(self, trial: FrozenTrial, error: str) -> None:
        """Keep why a trial failed."""
        self.storage.set_trial_user_attr(trial._trial_id, ERROR, error)
        self.study.tell(trial.number, state=TrialState.FAIL)

    def again(self) -> None:
        """Let those that failed be run once more, under their numbers, and add what a larger number of trials asks."""
        with self.alone():
            for number, trial in self.trials.items():
                if trial.state == TrialState.FAIL:
                    _add(self.study, self.plan, number, trial.params)
            for number, drawn in enumerate(proposals.known_before(self.plan)):
                if number not in self.trials:
                    _add(self.study, self.plan, number, drawn)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While no other process changes the study."""
        with locks.held(self.folder / ".lock", "", _unsaid):
            yield

    def _lock(self, trial: FrozenTrial) -> Path:
        return self.folder / f".trial{trial.user_attrs[NUMBER] + 1}.lock"


def open_record(folder: Path, plan: Plan, settled: Mapping[str, Any], workers: int) -> Record:
    """The study of a sweep, made where there is none. One of which no trial was begun makes room for another.

    Args:
        folder: of the sweep.
        plan: what is asked for.
        settled: all that its results depend on.
        workers: how many trials of a Bayesian search may run at a time; a study keeps its first number.

    Raises:
        ArtifactError: it was begun by a sweep that asks for something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locks.held(folder / ".lock", "", _unsaid):
        if (folder / FILE).exists():
            found = Record(folder, plan)
            changed = differences(found.study.user_attrs[SETTLED], settled)
            if not changed:
                return found
            begun = any(trial.state != TrialState.WAITING for trial in found.trials.values())
            found.close()
            if begun:
                raise ArtifactError(_mixed(folder, plan, changed))
        _create(folder / FILE, plan, settled, workers)
    return Record(folder, plan)


def _mixed(folder: Path, plan: Plan, changed: list[tuple[str, Any, Any]]) -> str:
    told = "; ".join(f"{key} was {before!r}, is {now!r}" for key, before, now in changed[:8])
    return (
        f"{folder / FILE} holds trials of another sweep: {told} ({plan.where}). Give the changed file another name, or "
        f"remove {folder} and its runs ({removal(folder)}): finished stages are kept in the store and are not trained "
        "again."
    )


def _create(path: Path, plan: Plan, settled: Mapping[str, Any], workers: int) -> None:
    """The whole study or none: it gets its name when all trials are in it."""
    with replacing(path) as scratch:
        storage = _storage(scratch)
        study = optuna.create_study(study_name=plan.path.stem, storage=storage, direction=plan.goal)
        study.set_user_attr(SETTLED, json.loads(json.dumps(settled)))
        study.set_user_attr(LAG, workers)
        for number, drawn in enumerate(proposals.known_before(plan)):
            _add(study, plan, number, drawn)
        _close(storage)


def _storage(path: Path) -> RDBStorage:
    proposals.quiet()
    return RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": PATIENCE}})


def _close(storage: RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


def _add(study: optuna.Study, plan: Plan, number: int, drawn: Mapping[str, Any]) -> None:
    own = proposals.distributions(plan)
    attributes = {NUMBER: number}
    study.add_trial(
        create_trial(state=TrialState.WAITING, params=dict(drawn), distributions=own, user_attrs=attributes)
    )


def _lesson(trial: FrozenTrial) -> FrozenTrial:
    return create_trial(value=trial.value, params=trial.params, distributions=trial.distributions)


def _unsaid(line: str) -> None:
    """Who waits for whom is seen by the trials."""
