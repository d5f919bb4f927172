"""What is looked at before anything is trained: that all which arms name builds, fits together, and can be asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from apo_lightning import config, prompts
from apo_lightning.config.rules import runs_stage
from apo_lightning.errors import AbsentError, ApoError, ConfigError
from apo_lightning.experiment import (
    further_sets,
    machine,
    noise,
    preferred,
    pruned,
    rehearsal,
    rejecting,
    rounds,
    served,
    teacher_tokens,
    weighing,
)
from apo_lightning.experiment.scored import judging_findings
from apo_lightning.findings import CANONICAL
from apo_lightning.hashing.contents import digest
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import bind
from apo_lightning.models.sizes import count_on_meta
from apo_lightning.settings import ExperimentSettings
from apo_lightning.stages import STAGES
from apo_lightning.teachers import TEACHERS
from data_modules import DATA
from data_modules.base import CXRDataModule
from data_modules.transfer import Transfer


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
            rejecting.check(cfg, arm)
            data = check(cfg, here=here)
            seen = digest(rehearsal.depends_on(cfg))
            notes[seen] = notes[seen] if seen in notes else _rehearse(cfg, data)
    return list(dict.fromkeys(note for found in notes.values() for note in found))


def check(cfg: ExperimentSettings, *, here: bool = True) -> CXRDataModule:
    """Everything of one arm that is built without files; see `check_arms`. Returns its data module, not yet read."""
    noise.quiet()
    machine.check_names(cfg.trainer, cfg.student)
    data = build_data(cfg)
    served.guard(cfg, data)
    for each in further_sets.build(cfg):
        served.guard(cfg.of_set(each.name), each.data)
    teachers = {
        name: config.build(TEACHERS, section, f"teachers.{name}", "kind", name=name)
        for name, section in cfg.teachers.items()
    }
    rounds.each_run(cfg, preferred.strategy)
    weighing.strategy(cfg)
    rounds.each_run(cfg, _check_prompts)
    for stage in dict.fromkeys(name for arm in cfg.arms.values() for name in arm.stages):
        if section := getattr(getattr(cfg.stages, stage), "loss", None):
            bind(config.build(LOSSES, section, f"stages.{stage}.loss"), STAGES.lookup(stage).provides, stage)
    rounds.each_run(cfg, lambda own: teacher_tokens.require_logits(own, teachers))
    rounds.each_run(cfg, _require_weights)
    count_on_meta(cfg.student)
    if here:
        machine.check_here(cfg)
        served.check(cfg)
    return data


def _check_prompts(cfg: ExperimentSettings) -> None:
    """Templates that can be filled, and that ask for what their stage has: only self-distillation reads reports."""
    asked = {"prompt": cfg.prompt, "evaluate.prompt": cfg.evaluate.prompt or cfg.prompt}
    asked |= {f"evaluate.sets.{name}.prompt": rehearsal.question(cfg, name) for name in cfg.evaluate.sets}
    for key, name in {**asked, "stages.self_distill.prompt": cfg.stages.self_distill.prompt}.items():
        if prompts.tells_labels(name):
            raise ConfigError(
                f"{key} '{name}' has $labels: the student would be told what it is to find. Only a teacher may be, by "
                "teachers.<name>.prompt."
            )
    for key, name in asked.items():
        if "reports" in prompts.load(name).get_identifiers():
            raise ConfigError(f"{key} '{name}' has $reports, and only stages.self_distill.prompt has them.")
    name = cfg.stages.self_distill.prompt
    if "reports" not in prompts.load(name).get_identifiers() and (
        preferred.writes(cfg) or rehearsal.learns_from_reports(cfg) or rejecting.shows(cfg)
    ):
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
    rounds.each_run(cfg, lambda own: rehearsal.rehearse(own, findings))
    return []


def _require_weights(cfg: ExperimentSettings) -> None:
    """A loss that cares only whether a weight is 0 would leave the others without a trace."""
    select, name = cfg.pool.select, cfg.stages.apo.loss["name"] if runs_stage(cfg, "apo") else ""
    if name and not rejecting.of_teachers(cfg, "apo"):
        return
    if name and not getattr(LOSSES[name], "weighs", True) and weighing.weighs(cfg) and weighing.strategy(cfg).unequal:
        raise ConfigError(
            f"stages.apo.loss '{name}' takes every teacher of a weight above 0 alike, and {weighing.KEY} "
            f"'{cfg.pool.weights['name']}' weighs them differently. Use apo_pairwise, which weighs its pairs, give the "
            f"arm {weighing.KEY}.rejected=uniform, so that its weights count in what is taught alone, or leave it out."
        )
    heard = [own for teacher, own in cfg.teachers.items() if not isinstance(select, list) or teacher in select]
    weights = sorted({float(own.get("weight", 1.0)) for own in heard} - {0.0})
    if name and select != "best_on_val" and len(weights) > 1 and not getattr(LOSSES[name], "weighs", True):
        raise ConfigError(
            f"stages.apo.loss '{name}' takes every teacher of a weight above 0 alike, but their weights are "
            f"{', '.join(map(str, weights))}. Use apo_pairwise, which weighs its pairs, give the teachers one weight "
            "in arms.<arm>.set, or leave the arm out with only=[...]."
        )


def rehearse_on(arms: Mapping[str, ExperimentSettings], data: Mapping[str, CXRDataModule]) -> None:
    """Prompts that no study of the data could be asked, and strategies for t+ that its labels do not serve, stop a run
    here: see `rehearsal.rehearse_on` and `preferred.require`."""
    for arm, own in arms.items():
        with _of_arm(arm, own):
            rounds.each_run(own, lambda run, arm=arm: preferred.require(run, arm, data[arm]))
            weighing.require(own, arm, data[arm])
            rejecting.require(own, arm, data[arm])
            pruned.require(own, data[arm].studies("val"), judging_findings(own.evaluate, data[arm]))
    for arm in {digest(rehearsal.depends_on(own)): arm for arm, own in reversed(arms.items())}.values():
        with _of_arm(arm, arms[arm]):
            rounds.each_run(arms[arm], lambda run, arm=arm: rehearsal.rehearse_on(run, data[arm]))


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


def absent_data(arms: Mapping[str, ExperimentSettings]) -> list[str]:
    """What a run of ``arms`` would say of sets that it learns from and that are not on disk, one sentence each.

    Raises:
        DataError: a set is there, and cannot be read.
    """
    said = dict[str, None]()
    for own in {digest(own.data): own for own in arms.values()}.values():
        try:
            build_data(own).studies("train")
        except AbsentError as error:
            said[str(error)] = None
    return list(said)


def checked_data(
    cfg: ExperimentSettings, further: Mapping[str, CXRDataModule] | None = None, report_path: Path | None = None
) -> CXRDataModule:
    """The same, looked at: what is left are the studies that a run of ``cfg`` uses.

    Args:
        report_path: takes the list of what cannot be used.

    Raises:
        DataError: it does not pass.
    """
    data = build_data(cfg, further)
    data.check(report_path=report_path)
    return data.settled() if isinstance(data, Transfer) else data
