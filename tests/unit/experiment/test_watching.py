"""What is seen of a run: step of steps and the time left, the place in the whole, long names at 80 columns."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from rich.cells import cell_len
from torch import nn
from torch.utils.data import DataLoader

from apo_lightning import config, leader, progress, reports
from apo_lightning.console import Console
from apo_lightning.experiment import overall, watching
from apo_lightning.experiment.overall import Course, Work
from apo_lightning.progress import Meter
from tests.helpers import fake_run


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, highlight=False, color_system=None)


# --- one stage -------------------------------------------------------------------------------------------------------


def test_the_pace_is_that_of_this_process_without_its_first_step(clock: Clock) -> None:
    meter = Meter("spd", 350, first=120, clock=clock)
    assert meter.numbers() == "step 120 of 350"  # right after a resume
    clock.now += 9
    meter.at(121, 2.5)
    assert meter.numbers() == "step 121 of 350, loss 2.5, 9 s/step, 34 min left"  # 229 steps of 9 s are 2061 s
    clock.now += 4
    meter.at(129, 1.23456)  # 8 steps in 4 s
    assert meter.numbers() == "step 129 of 350, loss 1.235, 0.5 s/step, 2 min left"  # 221 steps of .5 s are 110 s
    clock.now += 110.5
    meter.at(350)
    assert meter.numbers() == "step 350 of 350, loss 1.235, 0.5 s/step"


def test_a_stage_that_ends_early_has_no_time_left(clock: Clock) -> None:
    meter = Meter("apo", 100, clock=clock)
    clock.now += 2
    meter.at(1)
    assert meter.numbers() == "step 1 of 100, 2 s/step, 3 min left"
    assert meter.numbers(ended=True) == "step 1 of 100, 2 s/step"


def test_a_line_is_due_every_30_seconds(clock: Clock) -> None:
    meter, due = Meter("spd", 10, clock=clock), []
    for _ in range(7):
        clock.now += 12
        due.append(meter.due())
    assert due == [False, False, True, False, False, True, False]  # at 36 s, and 36 s after that


def test_a_long_loop_says_in_a_log_where_it_is(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "Meter", lambda *words, **how: Meter(*words, **how, clock=clock))

    def items() -> Any:
        for i in range(4):
            yield i
            clock.now += 20

    assert list(progress.watch(items(), 4, "opening images [a]")) == [0, 1, 2, 3]
    assert capsys.readouterr().err == "  opening images [a]: item 2 of 4, 20 s/item, 40 s left\n"


# --- the bar and the lines of a fit ----------------------------------------------------------------------------------


def follow(watch: watching.Watch, clock: Clock, steps: range, total: int, seconds: float) -> None:
    """A fit as Lightning calls it."""
    run = SimpleNamespace(max_steps=total, global_step=steps[0])
    watch.on_train_start(run)
    for step in steps:
        run.global_step = step
        watch.on_train_batch_start(run)
        clock.now += seconds
    run.global_step = steps[-1] + 1
    watch.on_train_end(run)


def course(clock: Clock) -> Course:
    """Two arms that share collect and spd."""
    chain = {"collect": "c", "spd": "s"}
    made = Course(
        [Work("a", 0, chain | {"evaluate": "ea"}), Work("b", 0, chain | {"apo": "p", "evaluate": "eb"})], clock
    )
    made.begin("a", 0, "spd")
    return made


def test_a_log_has_a_whole_line_every_30_seconds_and_one_at_the_end(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Console(file=io.StringIO(), width=80, highlight=False)
    monkeypatch.setattr(leader, "console", log)
    monkeypatch.setattr(watching, "console", log)
    losses = iter(range(11, 0, -1))
    watch = watching.Watch("spd", lambda: next(losses), course=course(clock), clock=clock)
    follow(watch, clock, range(4, 9), total=9, seconds=16)
    place = "arm 1 of 2, stage 2 of 3, at least"
    assert log.file.getvalue().splitlines() == [
        "    spd: step 4 of 9, loss 11; arm 1 of 2, stage 2 of 3, time left not known yet",  # it goes on from there
        f"    spd: step 6 of 9, loss 8, 16 s/step, 48 s left; {place} 48 s left",
        f"    spd: step 8 of 9, loss 6, 16 s/step, 16 s left; {place} 16 s left",
        "    spd: step 9 of 9, loss 5, 16 s/step; arm 1 of 2, stage 2 of 3, time left not known yet",
    ]


def test_the_first_line_after_a_resume_counts_the_steps_before_it(clock: Clock) -> None:
    watch = watching.Watch("spd", lambda: 0.5, course=Course(), clock=clock)
    watch.on_train_start(SimpleNamespace(max_steps=350, global_step=120))
    watch.on_train_batch_start(SimpleNamespace(global_step=120))
    assert watch.meter.numbers() == "step 120 of 350, loss 0.5"


def test_a_prediction_goes_on_behind_the_batches_that_are_filed(clock: Clock) -> None:
    watch = watching.Watch("evaluate", first=3, course=Course(), clock=clock)
    run = SimpleNamespace(num_predict_batches=[5], world_size=1)
    watch.on_predict_start(run)
    clock.now += 10
    watch.on_predict_batch_start(run, None, None, 2)
    assert watch.meter.numbers() == "batch 5 of 8, 5 s/batch, 15 s left"


@pytest.mark.parametrize("width", [40, 80, 160])
def test_a_bar_is_two_lines_at_any_width(width: int, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(width)
    monkeypatch.setattr(watching, "console", screen)
    watch = watching.Watch("a_stage_of_a_name_that_is_far_too_long_2", lambda: 1.5, course=course(clock), clock=clock)
    watch.on_train_start(SimpleNamespace(max_steps=12_000, global_step=11_000))
    clock.now += 70
    watch._at(11_010)
    plain = Console(file=io.StringIO(), width=width, highlight=False)
    plain.print(watch.picture())
    watch.on_exception()
    lines = plain.file.getvalue().splitlines()
    assert len(lines) == 2 and all(cell_len(line) <= width for line in lines)
    assert lines[0].startswith("  a_stage") and "…" in lines[0] and "arm 1 of 2, stage 2 of 3" in lines[1]
    if width >= 80:
        assert "step 11,010 of 12,000, loss 1.5, 7 s/step" in lines[0] and "left" in lines[1]
    assert watch.live is None and "\x1b[?25h" in screen.file.getvalue(), "the cursor is back"


class Plain(LightningModule):
    """The smallest thing that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch: Any, number: int) -> Any:
        return self.layer(batch).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_lightning_tells_a_resumed_fit_its_step_before_the_first_picture(tmp_path: Path, clock: Clock) -> None:
    """With a real checkpoint, and two micro-batches a step."""
    pictures: list[str] = []

    class Seen(watching.Watch):
        def _begin(self, *words: Any) -> None:
            super()._begin(*words)
            pictures.append(self.meter.numbers())

        def _at(self, done: int) -> None:
            super()._at(done)
            pictures.append(self.meter.numbers())

    off = dict(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = DataLoader(torch.ones(40, 2), batch_size=2)

    def go(steps: int, **how: Any) -> Trainer:
        watch = Seen("spd", course=Course(), clock=clock)
        made = Trainer(max_steps=steps, accumulate_grad_batches=2, callbacks=[watch], default_root_dir=tmp_path, **off)
        made.fit(Plain(), data, **how)
        return made

    go(3).save_checkpoint(tmp_path / "third.ckpt")
    pictures.clear()
    go(5, ckpt_path=tmp_path / "third.ckpt", weights_only=False)
    assert pictures[0] == "step 3 of 5"
    assert [text.split(",")[0].split(" of ")[0] for text in pictures[1:]] == [
        f"step {step}" for step in (3, 3, 4, 4, 5)
    ]


# --- the whole run ---------------------------------------------------------------------------------------------------


def test_the_time_left_is_measured_in_this_run_and_what_arms_share_counts_once(clock: Clock) -> None:
    """By hand: spd 100 s, evaluate 20 s; left are b's apo, which nobody has measured, and its evaluate."""
    run = course(clock)
    assert run.place() == "arm 1 of 2, stage 2 of 3, time left not known yet"
    clock.now += 100
    run.end(stored=False)
    run.begin("a", 0, "evaluate")
    assert run.place(7.0) == "arm 1 of 2, stage 3 of 3, at least 7 s left"
    clock.now += 20
    run.end(stored=False)
    run.begin("b", 0, "spd")
    run.end(stored=True)
    run.begin("b", 0, "apo")
    assert run.place() == "arm 2 of 2, stage 3 of 4, at least 20 s left"
    assert run.place(60.0) == "arm 2 of 2, stage 3 of 4, at least 80 s left"  # what is seen is a part of the stage
    assert run.place(60.0, whole=True) == "arm 2 of 2, stage 3 of 4, about 80 s left"
    run.begin("b", 0, "evaluate")
    clock.now += 5
    assert run.place() == "arm 2 of 2, stage 4 of 4, about 15 s left"


def test_a_stored_stage_says_nothing_of_what_another_will_take(clock: Clock) -> None:
    run = Course([Work("a", s, {"spd": f"s{s}"}) for s in (0, 1)], clock)
    run.begin("a", 0, "spd")
    run.end(stored=True)
    run.begin("a", 1, "spd")
    assert run.place() == "arm 1 of 1, seed 2 of 2, stage 1 of 1, time left not known yet"


def test_outside_of_a_plan_there_is_no_place(clock: Clock) -> None:
    run = Course([], clock)
    run.begin("a", 0, "spd")
    assert run.place(3.0) == ""


def test_arms_are_known_to_share_what_has_the_same_settings() -> None:
    cfg = config.load(Path(__file__).resolve().parents[3] / "experiments/smoke.yaml", [])
    names = {"spd_mt": ["collect", "spd", "evaluate"], "apo_listwise": ["collect", "spd", "apo", "evaluate"]}
    works = {arm: overall.work(cfg.resolved[arm], arm, 0, own).steps for arm, own in names.items()}
    later = overall.work(cfg.resolved["spd_mt"], "spd_mt", 1, names["spd_mt"]).steps
    first, second = works.values()
    assert first["collect"] == second["collect"] == later["collect"]
    assert first["spd"] == second["spd"] != later["spd"]
    assert first["evaluate"] != second["evaluate"]


# --- long names at 80 columns ----------------------------------------------------------------------------------------

LONG = "SPD of all seven teachers, then APO listwise with the negatives restated"
TEACHER = "chexagent_8b_instruct_of_2025_with_retrieval"


def printed(folder: Path, width: int, *, terminal: bool) -> list[str]:
    screen = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, highlight=False)
    reports.print_table(folder, screen)
    return screen.file.getvalue().splitlines()


@pytest.fixture(scope="module")
def long_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = fake_run.make(tmp_path_factory.mktemp("long"), arms=("base", "sft"), seeds=(0,), steps=2)
    for name in ("results.csv", "intervals.csv", "differences.csv"):
        text = (folder / name).read_text()
        text = text.replace('"SPD+MT, SFT on t+"', f'"{LONG}"').replace("gpt5", TEACHER)
        (folder / name).write_text(text.replace("pleural_effusion", "enlarged_cardiomediastinum"))
    return folder


def test_long_names_fold_and_no_number_is_cut_at_80_columns(long_names: Path) -> None:
    lines = printed(long_names, 80, terminal=True)
    text = "\n".join(lines)
    assert max(map(cell_len, lines)) <= 80 and "…" not in text
    assert "summary (1 of 2)" in text and "summary (2 of 2)" in text  # a table in parts says so
    first = [re.split(r"\s{2,}", line.strip())[0] for line in lines]
    at = next(i for i, line in enumerate(first) if line.startswith("SPD of all seven teachers,"))
    assert " ".join(first[at : at + 2]) == LONG  # at its words
    assert TEACHER in first  # a column is as wide as its longest word


def test_a_wide_terminal_and_a_log_have_whole_tables(long_names: Path) -> None:
    for lines in (printed(long_names, 160, terminal=True), printed(long_names, 80, terminal=False)):
        assert "fake: summary" in [line.strip() for line in lines] and "…" not in "\n".join(lines)


def test_how_many_stages_there_are_is_told_before_the_first() -> None:
    works = [Work("base", 0, {"collect": "c", "evaluate": "e1"}), Work("sft", 0, {"collect": "c", "apo": "a"})]
    assert Course(works).size() == "3 stages, of 4 in all arms: what arms share is made once"
    assert Course(works[:1]).size() == "2 stages"
