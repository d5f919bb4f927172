"""Several processes on one study, and what a kill leaves behind: no trial is lost, none is doubled, and the table is
that of a sweep that nobody disturbed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

from apo_lightning.experiment.sweeps import file, points, proposals, record, run, worker
from tests.helpers.fakes import fake_registries, write_experiment
from tests.helpers.sweep_files import put_run, sweep_file, write_results

SCRIPT = ROOT / "tests/helpers/sweep_process.py"
BETAS = [0.1, 0.2, 0.3, 0.5, 0.7, 1.0]
GRID = {"parameters": {"stages.apo.loss.beta": {"values": BETAS}}}
SEARCH = {"method": "bayes", "run_cap": 7, "parameters": {"stages.apo.loss.beta": {"min": 0.1, "max": 2.0}}}
LOOK = 0.02


@pytest.fixture(autouse=True)
def _experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_registries(monkeypatch)
    write_experiment(tmp_path)


def start(seconds: float) -> subprocess.Popen:
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, str(SCRIPT), "beta", str(seconds)], **quiet)


def wait_for(file: str, lines: int, process: subprocess.Popen) -> None:
    while len(numbers(file)) < lines:
        assert process.poll() is None, process.stdout.read()
        time.sleep(LOOK)


def numbers(file: str) -> list[int]:
    return [int(line) for line in Path(file).read_text().split()] if Path(file).exists() else []


def table() -> pd.DataFrame:
    found = pd.read_csv("runs/sweeps/beta/sweep.csv")
    return found.drop(columns=["seconds", "waited"])


def go_on() -> list[int]:
    """The same command in this process; returns the numbers of the trials that it ran."""
    ran = []
    with pytest.MonkeyPatch.context() as patched:
        put_run(patched, lambda cfg: (ran.append(int(cfg.name.rpartition("/")[2])), write_results(cfg)))
        run.sweep(Path("experiments/sweeps/beta.yaml"))
    return ran


def undisturbed(folder: Path, monkeypatch: pytest.MonkeyPatch, spec: dict) -> pd.DataFrame:
    """The table of a sweep in another folder."""
    folder.mkdir()
    with monkeypatch.context() as patched:
        patched.chdir(folder)
        write_experiment(folder)
        sweep_file(**spec)
        go_on()
        return table()


@pytest.mark.parametrize("spec", [GRID, pytest.param(SEARCH, marks=pytest.mark.slow)], ids=["grid", "bayes"])
def test_killed_in_a_trial_it_is_run_again_under_its_number(
    spec: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep_file(**spec)
    process = start(0.3)
    wait_for("began.txt", 3, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    ended = numbers("ended.txt")
    assert ended == [1, 2]
    count = 7 if spec is SEARCH else 6
    assert go_on() == [*range(3, count + 1)]
    assert table()["trial"].tolist() == list(range(1, count + 1))
    pd.testing.assert_frame_equal(table(), undisturbed(tmp_path / "calm", monkeypatch, spec))


def test_two_commands_share_a_grid_without_doubles_and_one_takes_over_from_a_dead_one() -> None:
    sweep_file(**GRID)
    first = start(0.5)
    wait_for("began.txt", 1, first)
    second = start(0.5)
    wait_for("began.txt", 4, first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert second.wait(120) == 0, second.stdout.read()
    ended = numbers("ended.txt")
    assert sorted(ended) == [1, 2, 3, 4, 5, 6]
    assert len(numbers("began.txt")) in (6, 7)  # the trial of the killed one, unless it had just ended
    assert table()["accuracy"].tolist() == pytest.approx(BETAS)


@pytest.mark.slow
def test_sigterm_ends_with_its_status_and_leaves_the_trial_to_be_run_again() -> None:
    sweep_file(**GRID)
    process = start(30)
    wait_for("began.txt", 1, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert process.stdout.read().endswith("stopped. The same command continues where it stopped.\n")
    assert go_on() == [1, 2, 3, 4, 5, 6]


class TestTurn:
    """Which trial is next; the study is looked at by two workers in one process."""

    def opened(self, workers: int = 2, **spec) -> record.Record:
        plan = file.read(sweep_file(**spec))
        first = points.check(plan)[0]
        return record.open_record(Path("runs/sweeps/beta"), plan, points.settled(plan, first), workers)

    def test_one_that_has_just_ended_is_not_taken_for_left_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its worker lets go of it between the look at its state and the look at its lock."""
        own = self.opened(**GRID)
        with own.turn() as taken:
            before = own.trials
            own.finish(taken, 0.5, {})
        monkeypatch.setattr(type(own), "trials", before)
        assert before[0].state == record.TrialState.RUNNING and own._free()[0].number == 1

    def test_a_bayesian_trial_sees_the_same_results_whoever_is_faster(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With two workers a trial may not know of the one before it, also where that has ended."""
        own, shown, plain = self.opened(2, **SEARCH), [], proposals.draw
        monkeypatch.setattr(proposals, "draw", lambda *how: shown.append([t.value for t in how[2]]) or plain(*how))
        for value in range(7):
            with own.turn() as taken:
                own.finish(taken, value, {})
        assert shown == [[], [], [0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]]

    def test_a_bayesian_trial_waits_for_what_it_learns_from(self, monkeypatch: pytest.MonkeyPatch) -> None:
        own = self.opened(2, **SEARCH)
        monkeypatch.setattr(record.locks, "alive", lambda path: True)
        with own.turn(), own.turn():
            assert own._free() == (None, True)  # the third learns from the first

    def test_the_study_gets_its_name_when_all_trials_are_in_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = record._add

        def deadly(study, plan, number, drawn):
            if number == 3:
                raise KeyboardInterrupt
            plain(study, plan, number, drawn)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(record, "_add", deadly)
            self.opened(**GRID)
        assert not Path("runs/sweeps/beta/study.db").exists()
        assert len(self.opened(**GRID).trials) == 6

    def test_killed_behind_its_results_it_is_kept_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between the run and the word to the study nothing is lost: the run is in the store, and told again."""
        ran = []

        def killed(*args: object) -> None:
            raise KeyboardInterrupt

        put_run(monkeypatch, lambda cfg: (ran.append(cfg.name), write_results(cfg)))
        own = self.opened(**GRID)
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(own.study, "tell", killed)
            worker.work(own)
        worker.work(own)
        assert ran == ["small-beta/1", *(f"small-beta/{number}" for number in range(1, 7))]
        assert [t.value for t in own.trials.values()] == pytest.approx(BETAS)
