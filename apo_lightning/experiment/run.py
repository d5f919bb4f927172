"""The composition root: arms x seeds x stages, then the table and the report. Read this first."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.markup import escape

from apo_lightning import config, leader, prompts, reports
from apo_lightning.config.rules import runs_stage
from apo_lightning.errors import ApoError, ConfigError
from apo_lightning.experiment import (
    failure_files,
    further_sets,
    machine,
    observing,
    preferred,
    rehearsal,
    results,
    sample_files,
    tracking,
    trainer,
)
from apo_lightning.experiment.further_sets import FurtherSet
from apo_lightning.experiment.pipeline import Pipeline
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.experiment.scored import scored_findings
from apo_lightning.files.characters import visible
from apo_lightning.files.formats import write_csv
from apo_lightning.findings import CANONICAL
from apo_lightning.hashing.contents import digest, file_digest
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import bind, needs
from apo_lightning.metrics.report_text.measured import require_reports, words
from apo_lightning.models.network import Networks
from apo_lightning.models.sizes import count_on_meta
from apo_lightning.settings import ExperimentSettings
from apo_lightning.stages import STAGES
from apo_lightning.stages.spd import LOGITS
from apo_lightning.teachers import TEACHERS
from data_modules import DATA
from data_modules.base import CXRDataModule
from data_modules.loading.splits import SPLITS
from data_modules.transfer import Transfer


def run(cfg: ExperimentSettings, overrides: Sequence[str] = ()) -> Path:
    """Run an experiment; what is already in the store is not run again.

    Returns:
        the run folder, with results.csv, report.md and report.html.

    Raises:
        ConfigError, DataError, ArtifactError: before any training.
    """
    trainer.quiet()
    if tracking.in_wandb_sweep():  # every trial has its own run folder, all share the store
        cfg.name = f"{cfg.name}-sweep/{os.environ['WANDB_SWEEP_ID']}/{os.environ.get('WANDB_RUN_ID', 'trial')}"
    folder = RunFolder(Path(cfg.runs_dir), cfg.name)
    arms = {arm: config.resolve_arm(cfg, arm, overrides) for arm in cfg.only or cfg.arms}
    if missing := check_arms(arms):
        raise ConfigError(f"{' '.join(missing)} Download it first (hf download NAME), or give a folder.")
    trainer.connect(cfg.trainer)
    settled = json.loads(json.dumps(config.to_dict(cfg)))
    leader.from_leader(lambda: folder.require(settled))
    head = f"[bold]{cfg.name}[/bold]: {len(arms)} arms x {len(cfg.seeds)} seeds"
    leader.say(f"{head} -> {escape(visible(str(folder.path)))}")
    sets = further_sets.look(cfg, folder.path)
    data = _data(arms, folder, sets)
    _rehearse_on(arms, data)
    networks = Networks(keep=not trainer.takes_apart(cfg.trainer))
    with ExitStack() as claimed:  # only now: a run that stops at a check leaves the folder to the mended one
        guarded = _guarded(cfg, arms, data, sets)
        leader.from_leader(lambda: claimed.enter_context(tracking.trial(cfg, folder.path, arms, guarded)))
        leader.from_leader(lambda: claimed.enter_context(_claim(cfg, guarded, folder, settled)))
        answered = {own.name: own.data for own in further_sets.present(sets)}
        for seed in cfg.seeds:
            for arm, own in arms.items():
                last = Pipeline(own, arm, seed, data[arm], folder, networks, answered)
                last.run()
        if leader.is_leader():
            with folder.alone(leader.say_plainly):
                _conclude(cfg, guarded, data[next(iter(arms))], sets, folder, last)
                tracking.tell_end(cfg, folder.path, arms)
        leader.barrier()
    return folder.path


@contextmanager
def _claim(cfg: ExperimentSettings, guarded: set[str], folder: RunFolder, settled: Mapping[str, Any]) -> Iterator[None]:
    """The folder is this run's; what it may not show goes before anything is trained, since that may fail."""
    with folder.claim(settled, config.dump(cfg), leader.say_plainly):
        if unsaid := guarded - set(cfg.acknowledge):
            with folder.alone(leader.say_plainly):
                sample_files.withdraw(folder.path, unsaid)
        yield


def _guarded(cfg: ExperimentSettings, arms: Mapping[str, ExperimentSettings], data: Mapping[str, CXRDataModule],
             sets: Sequence[FurtherSet]) -> set[str]:  # fmt: skip
    """Names of the sets that are shown only with ``acknowledge``."""
    own = {name for arm, each in arms.items() for name in observing.guarded(each, data[arm])}
    present = further_sets.present(sets)
    return own | {cfg.evaluate.sets[one.name].data["name"] for one in present if one.data.credentialed}


def _data(arms: Mapping[str, ExperimentSettings], folder: RunFolder,
          sets: Sequence[FurtherSet] = ()) -> dict[str, CXRDataModule]:  # fmt: skip
    """One checked data module for all arms with the same data sections, without the patients of further sets."""
    made: dict[str, CXRDataModule] = {}
    further = {own.key: own.data for own in further_sets.present(sets)}
    for arm, own in arms.items():
        key = digest([own.data, own.evaluate.data])
        if key not in made:
            suffix = f"_{arm}" if made else ""
            made[key] = build_data(own, further)
            made[key].check(report_path=folder.path / f"unusable{suffix}.tsv" if leader.is_leader() else None)
            made[key] = made[key].settled() if isinstance(made[key], Transfer) else made[key]
            if leader.is_leader():
                write_splits(made[key], folder.path / f"splits{suffix}.csv")
            _introduce(made[key], own)
        scored_findings(own.evaluate, made[key])
        require_reports(own.evaluate.report_text, made[key].studies(own.evaluate.split), own.evaluate.split)
    return {arm: made[digest([own.data, own.evaluate.data])] for arm, own in arms.items()}


def _rehearse_on(arms: Mapping[str, ExperimentSettings], data: Mapping[str, CXRDataModule]) -> None:
    """Prompts that no study of the data could be asked, and strategies for t+ that its labels do not serve, stop a run
    here: see `rehearsal.rehearse_on` and `preferred.require`."""
    for arm, own in arms.items():
        with _of_arm(arm, own):
            preferred.require(own, arm, data[arm])
    for arm in {digest(rehearsal.depends_on(own)): arm for arm, own in reversed(arms.items())}.values():
        with _of_arm(arm, arms[arm]):
            rehearsal.rehearse_on(arms[arm], data[arm])


@contextmanager
def _of_arm(arm: str, cfg: ExperimentSettings) -> Iterator[None]:
    """Inside, an error says what the arm sets, if that may be it."""
    try:
        yield
    except ConfigError as error:
        changed = ", ".join(cfg.arms[arm].set)
        raise ConfigError(f"{error} (Arm '{arm}' sets {changed}.)" if changed else str(error)) from error


def build_data(cfg: ExperimentSettings, further: Mapping[str, CXRDataModule] | None = None) -> CXRDataModule:
    """The set that is trained on, or, with ``evaluate.data``, that set with the test split of the other; without the
    patients of ``further`` sets. No file is looked at yet."""
    source, other = config.build(DATA, cfg.data, "data"), cfg.evaluate.data
    if other is None and not further:
        return source
    return Transfer(source, config.build(DATA, other, "evaluate.data") if other is not None else None, further)


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


def _conclude(cfg: ExperimentSettings, guarded: set[str], own: CXRDataModule, sets: Sequence[FurtherSet],
              folder: RunFolder, last: Pipeline) -> None:  # fmt: skip
    """Tables, samples, report."""
    results.write(cfg, folder.path, last)
    failure_files.write(cfg, folder.path, last)
    if measured := words(cfg.evaluate.report_text.resolved(cfg.evaluate.prompt or cfg.prompt)):
        leader.say(f"  report texts: {escape(measured)}")
    answered = further_sets.write(cfg, sets, folder.path, last)
    cited = [own.citation, *(one.data.citation for one in further_sets.present(sets))]
    if acknowledged := all(name in cfg.acknowledge for name in guarded):
        sample_files.keep(own, cfg.evaluate.split, folder.path)
    else:
        sample_files.withdraw(folder.path, guarded - set(cfg.acknowledge))
    folder.finish(
        config.to_dict(cfg), credentialed=bool(guarded), guarded=sorted(guarded), acknowledged=acknowledged,
        citation="; ".join(dict.fromkeys(cited)), split=cfg.evaluate.split, warn_cut=cfg.evaluate.warn_cut,
        report_text=measured, sets=answered,
        data={**own.facts(), "splits_sha256": file_digest(folder.path / "splits.csv")},
    )  # fmt: skip
    report = reports.write(folder.path)
    reports.print_table(folder.path)
    leader.say(f"report: {escape(visible(str(report)))}")


def check_arms(arms: Mapping[str, ExperimentSettings], *, here: bool = True) -> list[str]:
    """Build everything that arms name, the student on the meta device, without reading data or training, and take one
    made-up study through the student's processor with each prompt (`rehearsal`).

    Args:
        arms: resolved settings by name.
        here: ask whether they would run on this machine, its devices and packages.

    Returns:
        what could not be looked at, one sentence each.

    Raises:
        ConfigError: something does not build or does not fit together; names what the arm sets, if that may be it.
    """
    notes: dict[str, list[str]] = {}
    for arm, cfg in arms.items():
        with _of_arm(arm, cfg):
            data = check(cfg, here=here)
            seen = digest(rehearsal.depends_on(cfg))
            notes[seen] = notes[seen] if seen in notes else _rehearse(cfg, data)
    return list(dict.fromkeys(note for found in notes.values() for note in found))


def check(cfg: ExperimentSettings, *, here: bool = True) -> CXRDataModule:
    """Everything of one arm that is built without files; see `check_arms`. Returns its data module, not yet read."""
    trainer.quiet()
    machine.check_names(cfg.trainer, cfg.student)
    data = build_data(cfg)
    further_sets.build(cfg)
    for name, section in cfg.teachers.items():
        config.build(TEACHERS, section, f"teachers.{name}", "kind", name=name)
    preferred.strategy(cfg)
    _check_prompts(cfg)
    for stage in ("spd", "apo"):
        if any(stage in arm.stages for arm in cfg.arms.values()):
            section = getattr(cfg.stages, stage).loss
            bind(config.build(LOSSES, section, f"stages.{stage}.loss"), STAGES[stage].provides, stage)
    _require_logits(cfg)
    _require_weights(cfg)
    count_on_meta(cfg.student)
    if here:
        machine.check_here(cfg)
    return data


def _check_prompts(cfg: ExperimentSettings) -> None:
    """Templates that can be filled, and that ask for what their stage has: only self-distillation reads reports."""
    asked = {"prompt": cfg.prompt, "evaluate.prompt": cfg.evaluate.prompt or cfg.prompt}
    asked |= {f"evaluate.sets.{name}.prompt": rehearsal.question(cfg, name) for name in cfg.evaluate.sets}
    for key, name in asked.items():
        if "reports" in prompts.load(name).get_identifiers():
            raise ConfigError(f"{key} '{name}' has $reports, and only stages.self_distill.prompt has them.")
    name = cfg.stages.self_distill.prompt
    if "reports" not in prompts.load(name).get_identifiers() and preferred.writes(cfg):
        raise ConfigError(
            f"stages.self_distill.prompt '{name}' has no $reports, so that the student would read no teacher. Add a "
            "line with $reports, or take reconcile."
        )


def _rehearse(cfg: ExperimentSettings, data: CXRDataModule) -> list[str]:
    if not rehearsal.on_disk(cfg.student.model):
        return [
            f"student.model '{cfg.student.model}' is not on this disk: its processor, prompts and token limits were "
            "not tried, its size is counted from its published configuration."
        ]
    try:
        findings = tuple(data.findings)
    except ApoError:  # the set's own tables name them, and are looked at when it is read
        findings = CANONICAL
    rehearsal.rehearse(cfg, findings)
    return []


def _require_weights(cfg: ExperimentSettings) -> None:
    """A loss that cares only whether a weight is 0 would leave the others without a trace."""
    select, name = cfg.pool.select, cfg.stages.apo.loss["name"] if runs_stage(cfg, "apo") else ""
    heard = [own for teacher, own in cfg.teachers.items() if not isinstance(select, list) or teacher in select]
    weights = sorted({float(own.get("weight", 1.0)) for own in heard} - {0.0})
    if name and select != "best_on_val" and len(weights) > 1 and not getattr(LOSSES[name], "weighs", True):
        raise ConfigError(
            f"stages.apo.loss '{name}' takes every teacher of a weight above 0 alike, but their weights are "
            f"{', '.join(map(str, weights))}. Use apo_pairwise, which weighs its pairs, give the teachers one weight "
            "in arms.<arm>.set, or leave the arm out with only=[...]."
        )


def _require_logits(cfg: ExperimentSettings) -> None:
    if not any("spd" in arm.stages for arm in cfg.arms.values()):
        return
    name, select = cfg.stages.spd.loss["name"], cfg.pool.select
    silent = [
        teacher
        for teacher, section in cfg.teachers.items()
        if TEACHERS[section["kind"]].gives != "logits" and (not isinstance(select, list) or teacher in select)
    ]
    if needs(LOSSES[name]) & LOGITS and silent:
        raise ConfigError(
            f"stages.spd.loss '{name}' needs teachers that give logits, and {', '.join(silent)} give text. Leave them "
            "out with pool.select, give them kind hf_logits, or use spd_nll."
        )
