"""The command line: what it calls, and what it prints when that goes wrong."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from apo_lightning import signals
from apo_lightning.cli.commands import main
from apo_lightning.config.places import SHIPPED
from apo_lightning.experiment import processes
from tests.helpers.fakes import EXPERIMENT, fake_registries, write_experiment


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fake_registries(monkeypatch)
    return write_experiment(tmp_path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stand-ins for the rooms that work: each notes what it was called with."""
    seen: list[tuple[Any, ...]] = []
    fakes = {
        "experiment.run": {
            "run": lambda cfg: seen.append(("run", cfg.name, cfg.seeds, cfg.resolved["apo"].stages.apo.loss["beta"])),
        },
        "experiment.checks": {
            "check_arms": lambda arms, here=True: (
                seen.append(("check", list(arms), here)) or ([] if here else ["not tried: x"])
            ),
            "absent_data": lambda arms: [],
        },
        "experiment.matched_texts": {"look": lambda arms: []},
    }
    monkeypatch.setattr(
        "apo_lightning.reports.write", lambda folder: seen.append(("report", str(folder))) or folder / "report.html"
    )
    for name, functions in fakes.items():
        module = ModuleType(f"apo_lightning.{name}")
        vars(module).update(functions)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(module.__name__, module, raising=False)
    return seen


@pytest.mark.parametrize("name", ["small", "experiments/small.yaml"])
def test_run_takes_words_as_wandb_prints_them(calls: list, name: str) -> None:
    assert main(["run", name, "stages.apo.loss.beta=0.1", "seeds=[1,2]"]) == 0
    assert calls == [("run", "small", [1, 2], 0.1)]


def test_errors_are_one_line_without_a_traceback(calls: list, capsys: pytest.CaptureFixture) -> None:
    assert main(["run", "small", "stages.apo.loss.beta=-1"]) == 2
    assert capsys.readouterr().err == "error: stages.apo.loss.beta must be > 0, got -1.0 (command line).\n"
    assert calls == []


def test_brackets_in_messages_are_not_markup(capsys: pytest.CaptureFixture) -> None:
    assert main(["run", "small", "seeds=[bold]"]) == 2
    assert "got ['bold']" in capsys.readouterr().err


def test_unknown_experiment(capsys: pytest.CaptureFixture) -> None:
    assert main(["run", "smal"]) == 2
    grouped = [f"qwen2_5_vl_7b/{card}" for card in ("1x12gb", "1x24gb", "1x80gb", "4x24gb", "8x80gb")]
    grouped += ["qwen2_5_vl_3b/1x12gb", "qwen2_5_vl_3b/1x24gb", "qwen3_vl_8b/1x24gb", "qwen3_vl_8b/1x80gb"]
    assert capsys.readouterr().err == (
        f"error: There is no experiment 'smal' in experiments/ or {SHIPPED}/. Did you mean 'small'? Known: "
        f"{', '.join(sorted(['small', *grouped, *(path.stem for path in SHIPPED.glob('*.yaml'))]))}.\n"
    )


def test_ctrl_c_says_how_to_go_on(calls: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def stop(cfg):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["apo_lightning.experiment.run"], "run", stop)
    assert main(["run", "small"]) == 130
    assert "The same command continues" in capsys.readouterr().err


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_has_a_status_of_its_own_and_a_line_on_how_to_go_on(
    calls: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, signum: signal.Signals, status: int
) -> None:
    before = signal.signal(signum, signal.SIG_DFL)  # as in a process that was not started under nohup
    try:
        monkeypatch.setattr(
            sys.modules["apo_lightning.experiment.run"], "run", lambda *given: os.kill(os.getpid(), signum)
        )
        assert main(["run", "small"]) == status
        assert signal.getsignal(signum) is signal.SIG_DFL
    finally:
        signal.signal(signum, before)
    assert capsys.readouterr().err == "\nstopped. The same command continues where it stopped.\n"


def test_what_fails_for_want_of_what_a_signal_ended_is_no_error(
    calls: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A loading process that the same signal ended, say."""

    def fail(cfg):
        try:
            raise signals.Stopped(signal.SIGTERM)
        finally:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated.")

    monkeypatch.setattr(sys.modules["apo_lightning.experiment.run"], "run", fail)
    assert main(["run", "small"]) == 143
    assert "DataLoader" not in capsys.readouterr().err


def test_several_processes_are_started_with_the_same_words(calls: list, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def launch(words, settings):
        seen.append((words, settings.devices))
        return processes.Outcome(1, "process 2 of 2 ended")

    monkeypatch.setattr(processes, "launch", launch)
    assert main(["run", "small", "trainer.devices=2", "seeds=[1]"]) == 1
    assert seen == [(["run", "small", "trainer.devices=2", "seeds=[1]"], 2)]
    assert calls == []


def test_other_errors_keep_their_traceback(calls: list, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(cfg):
        raise RuntimeError("a bug")

    monkeypatch.setattr(sys.modules["apo_lightning.experiment.run"], "run", fail)
    with pytest.raises(RuntimeError, match="a bug") as caught:
        main(["run", "small"])
    assert caught.value.__notes__ == [
        "This happened in 'apo run small' and is not yours to mend: please report it with the lines above."
    ]


def test_check_looks_at_every_file(calls: list, path: Path, capsys: pytest.CaptureFixture) -> None:
    (path.parent / "sweeps").mkdir()
    (path.parent / "sweeps/beta.yaml").write_text(
        "command: [python, run, small, '${args_no_hyphens}']\nmethod: grid\n"
        "metric: {name: apo/test/accuracy, goal: maximize}\n"
        "parameters: {stages.apo.loss.beta: {values: [0.1, 0.2]}}\n"
    )
    assert main(["check"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok     experiments/base/common.yaml: base",
        "ok     experiments/small.yaml: experiment with 4 arms",
        "       not tried: x",
        "ok     experiments/sweeps/beta.yaml: sweep of 2 trials",
    ]
    assert [call[2] for call in calls] == [False]  # files are held to what no machine could do
    path.with_name("bad.yaml").write_text(EXPERIMENT.replace("studies: 10", "studies: -1"))
    path.with_name("empty.yaml").write_text("")
    assert main(["check"]) == 2
    said = capsys.readouterr()
    assert "experiments/bad.yaml\ndata.studies must be > 0, got -1" in said.err
    assert "experiments/empty.yaml is empty" in said.err
    assert "2 of 5 files are not valid." in said.err
    assert said.out.count("ok ") == 3


def test_check_of_nothing(capsys: pytest.CaptureFixture) -> None:
    assert main(["check", "nowhere"]) == 2
    assert "There is no experiment 'nowhere' in experiments/ or " in capsys.readouterr().err
    assert main(["check", "nowhere", "elsewhere"]) == 2
    assert capsys.readouterr().err == "error: There is no file or folder nowhere.\n"


def test_check_of_one_experiment_asks_whether_it_would_run_here(calls: list, capsys: pytest.CaptureFixture) -> None:
    assert main(["check", "small", "only=[base]", "stages.apo.loss.beta=0.5"]) == 0
    assert calls == [("check", ["base"], True)]
    assert capsys.readouterr().out == (
        "ok     small: 1 arm, would run on this machine\n"
        "       No arm that is run has the stage 'apo': stages.apo.loss.beta changes nothing.\n"
    )
    assert main(["check", "small", "stages.apo.loss.beta=-1"]) == 2
    assert "must be > 0, got -1.0" in capsys.readouterr().err
    assert main(["check", "beta=1"]) == 2
    assert "key=value belongs to one experiment, got none." in capsys.readouterr().err


@pytest.mark.parametrize("where", ["check_arms", "absent_data"])
def test_check_says_what_is_missing_here(
    calls: list, where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(f"apo_lightning.experiment.checks.{where}", lambda arms: ["x is not on this disk."])
    assert main(["check", "small"]) == 2
    assert capsys.readouterr().out == (
        "valid  small: 4 arms, but would not run on this machine as it is\n       x is not on this disk.\n"
    )


def test_list_prints_one_line_a_member(capsys: pytest.CaptureFixture) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "data (data)",
        "  drawn    A plain class: its typed arguments are its settings.",
        "  on_disk  Looks at files when it is made.",
    ]
    listed = [line.split(maxsplit=1) for line in lines[lines.index("experiments") + 1 :]]
    assert ["small", "All of it, small."] in listed, "what lies in the working folder stands beside what is shipped"


def test_report_says_what_else_was_written(calls: list, capsys: pytest.CaptureFixture) -> None:
    Path("runs/one/figures").mkdir(parents=True)
    for name in ("results.csv", "report.md", "table.tex", "figures/a.png", "figures/b.png"):
        Path("runs/one", name).touch()
    assert main(["report", "runs/one"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == ["report: runs/one/report.html", "beside it: report.md, table.tex, figures/ (2)"]


def test_report_takes_the_newest_run(calls: list, capsys: pytest.CaptureFixture) -> None:
    assert main(["report"]) == 2
    assert "No finished run in runs/" in capsys.readouterr().err
    Path("runs/one").mkdir(parents=True)
    Path("runs/one/results.csv").touch()
    Path("runs/two").mkdir()
    assert main(["report"]) == main(["report", "runs/two"]) == 0
    assert calls == [("report", "runs/one"), ("report", "runs/two")]
    assert capsys.readouterr().out == "report: runs/one/report.html\nreport: runs/two/report.html\n"


def test_report_takes_a_name_as_ask_export_and_compare_do(calls: list, capsys: pytest.CaptureFixture) -> None:
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/results.csv").touch()
    assert main(["report", "mine"]) == main(["report", "mine", "runs/mine"]) == 0
    assert calls == [("report", "runs/mine")] * 2, "a name and its folder are one run"
    assert main(["report", "mime"]) == 2
    assert "mime is no folder, and runs/ has no run of that name. Did you mean 'mine'?" in capsys.readouterr().err


def test_sweep_by_name(capsys: pytest.CaptureFixture) -> None:
    assert main(["sweep", "betta"]) == 2
    assert (
        f"There is no experiment 'betta' in experiments/sweeps/ or {SHIPPED}/sweeps/. Did you mean 'beta'?"
        in capsys.readouterr().err
    )
