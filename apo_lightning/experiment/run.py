"""The composition root: arms x seeds x steps, then the table and the report. Read this first."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.markup import escape

from apo_lightning import config, leader, reports
from apo_lightning.errors import ApoError, ConfigError
from apo_lightning.experiment import (
    checks,
    costs,
    drift_files,
    failure_files,
    further_sets,
    gating,
    long_texts,
    noise,
    observing,
    overall,
    pipeline,
    pruned,
    results,
    sample_files,
    told_labels,
    tracking,
    trainer,
)
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.further_sets import FurtherSet
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.experiment.scored import scored_findings
from apo_lightning.files.characters import visible
from apo_lightning.files.formats import write_csv
from apo_lightning.hashing import sources
from apo_lightning.hashing.contents import digest, file_digest
from apo_lightning.metrics.report_text.measured import require_reports, words
from apo_lightning.models.network import Networks
from apo_lightning.settings import ExperimentSettings
from data_modules.base import CXRDataModule
from data_modules.loading.splits import SPLITS

Guard = Callable[[str, int, Callable[[], Context]], Context | None]
"""Makes one arm (by name) and seed; None where that failed and the others are to go on."""


def plainly(arm: str, seed: int, make: Callable[[], Context]) -> Context:
    """The first arm that fails ends the run."""
    return make()


def run(cfg: ExperimentSettings, guard: Guard = plainly) -> Path:
    """Run an experiment as `config.load` gives it; what is already in the store is not run again.

    Args:
        cfg: the experiment.
        guard: stands around each arm and seed.

    Returns:
        the run folder, with results.csv, report.md and report.html.

    Raises:
        ConfigError, DataError, ArtifactError: before any training.
        ApoError: no arm came to its end, and ``guard`` let that pass.
    """
    sources.remember()
    noise.quiet()
    long_texts.begin()
    _name_trial(cfg)
    folder, settled = RunFolder(Path(cfg.runs_dir), cfg.name), json.loads(json.dumps(config.to_dict(cfg)))
    if missing := checks.check_arms(cfg.resolved):
        raise ConfigError(f"{' '.join(missing)} Download it first (hf download NAME), or give a folder.")
    trainer.connect(cfg.trainer)
    leader.from_leader(lambda: folder.require(settled))
    head = f"[bold]{cfg.name}[/bold]: {len(cfg.resolved)} arms x {len(cfg.seeds)} seeds"
    leader.say(f"{head} -> {escape(visible(str(folder.path)))}")
    for note in cfg.unheard:
        leader.warn(note)
    sets = further_sets.look(cfg, folder.path)
    data = _data(cfg.resolved, folder, sets)
    checks.rehearse_on(cfg.resolved, data)
    with ExitStack() as claimed:  # only now: a run that stops at a check leaves the folder to the mended one
        guarded = _guarded(cfg, data, sets)
        leader.from_leader(lambda: claimed.enter_context(tracking.trial(cfg, folder.path, guarded)))
        leader.from_leader(lambda: claimed.enter_context(_claim(cfg, guarded, folder, settled)))
        arms = _run_arms(cfg, data, folder, sets, guard)
        if leader.is_leader():
            with folder.alone(leader.say_plainly):
                _conclude(cfg, guarded, arms, sets, folder)
                tracking.tell_end(cfg, folder.path)
        leader.barrier()
    return folder.path


def _run_arms(
    cfg: ExperimentSettings,
    data: Mapping[str, CXRDataModule],
    folder: RunFolder,
    sets: Sequence[FurtherSet],
    guard: Guard,
) -> dict[str, Context]:
    """Every seed of every arm; returns each arm with all that its last seed has done."""
    networks = Networks(keep=not trainer.takes_apart(cfg.trainer))
    answered = {own.name: own.data for own in further_sets.present(sets)}
    arms: dict[str, Context] = {}
    works = {
        (arm, seed): partial(Context, own, arm, seed, data[arm], folder, networks, answered)
        for seed in cfg.seeds
        for arm, own in cfg.resolved.items()
    }
    overall.RUN.plan([pipeline.plan(begin()) for begin in works.values()])
    leader.say(f"  {overall.RUN.size()}; the time left is told once a stage of its kind was made")
    for (arm, seed), begin in works.items():
        made = guard(arm, seed, lambda begin=begin: pipeline.run(begin()))
        arms |= {arm: made} if made is not None else {}
    if not arms:
        raise ApoError(f"None of the {len(cfg.resolved)} arms of {cfg.name} came to its end.")
    return arms


def _name_trial(cfg: ExperimentSettings) -> None:
    """Every trial of a W&B sweep has its own run folder; all share the store."""
    if tracking.in_wandb_sweep():
        name = f"{cfg.name}-sweep/{os.environ['WANDB_SWEEP_ID']}/{os.environ.get('WANDB_RUN_ID', 'trial')}"
        for each in (cfg, *cfg.resolved.values()):
            each.name = name


@contextmanager
def _claim(cfg: ExperimentSettings, guarded: set[str], folder: RunFolder, settled: Mapping[str, Any]) -> Iterator[None]:
    """The folder is this run's; what it may not show goes before anything is trained, since that may fail."""
    with folder.claim(settled, config.dump(cfg), leader.say_plainly):
        if unsaid := guarded - set(cfg.acknowledge):
            with folder.alone(leader.say_plainly):
                sample_files.withdraw(folder.path, unsaid)
        yield


def _guarded(cfg: ExperimentSettings, data: Mapping[str, CXRDataModule], sets: Sequence[FurtherSet]) -> set[str]:
    """Names of the sets that are shown only with ``acknowledge``."""
    own = {name for arm, each in cfg.resolved.items() for name in observing.guarded(each, data[arm])}
    present = further_sets.present(sets)
    return own | {cfg.evaluate.sets[one.name].data["name"] for one in present if one.data.credentialed}


def _data(
    arms: Mapping[str, ExperimentSettings], folder: RunFolder, sets: Sequence[FurtherSet] = ()
) -> dict[str, CXRDataModule]:
    """One checked data module for all arms with the same data sections, without the patients of further sets."""
    made: dict[str, CXRDataModule] = {}
    further = {own.key: own.data for own in further_sets.present(sets)}
    for arm, own in arms.items():
        key = digest([own.data, own.evaluate.data])
        if key not in made:
            suffix = f"_{arm}" if made else ""
            report = folder.path / f"unusable{suffix}.tsv" if leader.is_leader() else None
            made[key] = checks.checked_data(own, further, report)
            if leader.is_leader():
                write_splits(made[key], folder.path / f"splits{suffix}.csv")
            _introduce(made[key], own)
        scored_findings(own.evaluate, made[key])
        require_reports(own.evaluate.report_text, made[key].studies(own.evaluate.split), own.evaluate.split)
    return {arm: made[digest([own.data, own.evaluate.data])] for arm, own in arms.items()}


def _introduce(data: CXRDataModule, cfg: ExperimentSettings) -> None:
    names = " -> ".join(section["name"] for section in (cfg.data, cfg.evaluate.data) if section)
    sizes = {split: len(data.studies(split)) for split in SPLITS}
    leader.say(f"  data: {names}, studies {sizes}, {len(data.bad)} unusable")
    for note in data.notes:
        leader.say(f"    [dim]{escape(visible(note))}[/dim]")


def write_splits(data: CXRDataModule, path: Path) -> None:
    """Every study that is used with its patient and split; ``data.split_file`` reads it back."""
    rows = [(s.id, s.patient, split) for split in SPLITS for s in data.studies(split)]
    write_csv(path, ("study", "patient", "split"), rows)


def _conclude(
    cfg: ExperimentSettings,
    guarded: set[str],
    arms: Mapping[str, Context],
    sets: Sequence[FurtherSet],
    folder: RunFolder,
) -> None:
    """Tables, samples, report."""
    own = next(iter(arms.values())).data
    results.write(cfg, folder.path, arms)
    drift_files.write_quick(arms, folder.path)
    failure_files.write(cfg, folder.path, arms)
    pruned.write(cfg, folder.path, arms)
    if measured := words(cfg.evaluate.report_text.resolved(cfg.evaluate.prompt or cfg.prompt)):
        leader.say(f"  report texts: {escape(measured)}")
    answered = further_sets.write(cfg, sets, folder.path, arms)
    costs.write(folder.path)
    cited = [own.citation, *(one.data.citation for one in further_sets.present(sets))]
    if acknowledged := all(name in cfg.acknowledge for name in guarded):
        sample_files.keep(own, cfg.evaluate.split, folder.path)
    else:
        sample_files.withdraw(folder.path, guarded - set(cfg.acknowledge))
    folder.finish(
        config.to_dict(cfg),
        credentialed=bool(guarded),
        guarded=sorted(guarded),
        acknowledged=acknowledged,
        citation="; ".join(dict.fromkeys(cited)),
        split=cfg.evaluate.split,
        warn_cut=cfg.evaluate.warn_cut,
        report_text=measured,
        sets=answered,
        **told_labels.facts(arms.values()),
        **long_texts.facts(),
        **gating.facts(arms.values()),
        data={**own.facts(), "splits_sha256": file_digest(folder.path / "splits.csv")},
    )
    report = reports.write(folder.path)
    reports.print_table(folder.path)
    leader.say(f"report: {escape(visible(str(report)))}")
