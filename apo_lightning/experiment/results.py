"""results.csv, intervals.csv, differences.csv, tests.csv and agreement.csv, gathered from the run folder."""

from __future__ import annotations

import math
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from apo_lightning import leader
from apo_lightning.errors import ArtifactError
from apo_lightning.experiment import faults, pool, told_labels
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.stage_files import read_preferred, read_rows, read_scores
from apo_lightning.experiment.steps.evaluate import OWN
from apo_lightning.files.atomic import removal
from apo_lightning.files.formats import write_csv
from apo_lightning.hashing import inventory
from apo_lightning.metrics.agreement import agreement
from apo_lightning.metrics.answers import answered, text_outcomes
from apo_lightning.metrics.baselines import baseline_outcomes, prevalence_outcomes, prevalence_score_outcomes
from apo_lightning.metrics.bootstrap import Interval, Resampled
from apo_lightning.metrics.comparison import compare
from apo_lightning.metrics.outcomes import MEAN, Measure, Row
from apo_lightning.metrics.probes import FILES, measured
from apo_lightning.metrics.report_text.measured import report_outcomes
from apo_lightning.positives import DEFAULT
from apo_lightning.reports.folder import SEED
from apo_lightning.settings import ExperimentSettings
from apo_lightning.settings.rounds import number, runs
from apo_lightning.text.progression import judges_progression
from apo_lightning.types import Answer, Study

COLUMNS = ("arm", "label", "kind", "seed", "metric", "finding", "value")
BOUNDS = ("value", "low", "high", "seeds", "studies", "patients")
INTERVALS = ("kind", "arm", "metric", "finding", *BOUNDS)
DIFFERENCES = ("arm", "against", "metric", "finding", *BOUNDS)
TESTS = ("arm", "against", "metric", "finding", "test", "n", "statistic", "p", "p_holm")
AGREEMENT = ("arm", "finding", "kappa", "low", "high", "seeds", "studies")
LABELS = {
    "majority_vote": "Majority vote of the teachers",
    "always_yes": "Always yes",
    "always_no": "Always no",
    "prevalence": "Prevalence (most frequent answer of the training split)",
    "always_improving": "Always improving",
    "always_stable": "Always stable",
    "always_worsening": "Always worsening",
}


@dataclass(frozen=True)
class Measured:
    """One row of the table in one seed: what was counted of each study, or, where that was not kept, values alone."""

    kind: str
    arm: str
    label: str
    seed: int
    outcomes: Sequence[Measure]
    values: Sequence[Row] = ()

    def rows(self) -> Iterator[Row]:
        yield from self.values
        for part in self.outcomes:
            yield from part.rows()


def write(
    cfg: ExperimentSettings, folder: Path, arms: Mapping[str, Context], stage: str = OWN, into: Path | None = None
) -> Path:
    """Gather every arm and seed of the folder, the consensus, the teachers and the untrained baselines.

    Answers are read anew from their texts, all rows by one reader, whenever their stage was run.

    Args:
        cfg: the experiment.
        folder: its run folder.
        arms: those of this run, at least one, each with the data that it answers (`Context.for_set`).
        stage: whose answers.
        into: where the tables are written; None: the run folder.
    """
    own = _Contexts(arms)
    consensus = _consensus(cfg, folder, own) if stage == OWN else ()
    made = [*_arms(cfg, folder, own, stage), *consensus, *_untrained(cfg, arms)]
    found = list(faults.add(list(told_labels.mark(made, cfg, own))))
    tables, place = list(_resampled(found)), into or folder
    _write(place / "intervals.csv", INTERVALS, (line for table in tables for line in _intervals(table)))
    _write(place / "differences.csv", DIFFERENCES, (line for table in tables for line in _differences(table)))
    _write(place / "tests.csv", TESTS, (astuple(one) for table in tables for one in compare(_seeds_of_arms(table))))
    _write(place / "agreement.csv", AGREEMENT, (line for table in tables for line in _agreement(table)))
    rows = ((m.arm, m.label, m.kind, m.seed, *row) for m in found for row in m.rows())
    return _write(place / "results.csv", COLUMNS, rows)


def _write(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    return write_csv(path, head, ([_written(cell) for cell in row] for row in rows))


def _written(cell: Any) -> Any:
    return cell if not isinstance(cell, float) else "" if math.isnan(cell) else repr(cell)


def _resampled(found: Sequence[Measured]) -> Iterator[Resampled]:
    """One table for each kind of measure; rows are named by kind and arm."""
    grouped: dict[str, dict[tuple[str, str], dict[int, Measure]]] = {}
    for row in found:
        for part in row.outcomes:
            grouped.setdefault(part.kind, {}).setdefault((row.kind, row.arm), {})[row.seed] = part
    yield from map(Resampled, grouped.values())


def _intervals(table: Resampled) -> Iterator[tuple[Any, ...]]:
    for key in table.rows:
        yield from ((*key, *name, *_bounds(found)) for name, found in table.intervals(key).items())


def _differences(table: Resampled) -> Iterator[tuple[Any, ...]]:
    """Every pair of arms once, the later minus the earlier."""
    for one, other in combinations([key for key in table.rows if key[0] == "arm"], 2):
        for name, found in table.differences(other, one).items():
            yield other[1], one[1], *name, *_bounds(found)


def _seeds_of_arms(table: Resampled) -> dict[str, Mapping[int, Measure]]:
    return {arm: seeds for (kind, arm), seeds in table.rows.items() if kind == "arm"}


def _agreement(table: Resampled) -> Iterator[tuple[Any, ...]]:
    for arm, seeds in _seeds_of_arms(table).items():
        yield from ((arm, *astuple(one)) for one in agreement(seeds))


def _bounds(found: Interval) -> tuple[float | int, ...]:
    return tuple(getattr(found, name) for name in BOUNDS)


def _stored(folder: Path, arm: str, stage: str, file: str, now: Container[int] = ()) -> Iterator[tuple[int, Path]]:
    """Seed and file of every seed's stage; what else lies there is not ours. One that was finished and is not in the
    store any more is said to be left out.

    Args:
        now: seeds of this run, whose links are new.

    Raises:
        ArtifactError: a stage is not what was written.
    """
    named = [(SEED.fullmatch(path.name), path / stage) for path in folder.glob(f"{arm}/seed*")]
    for seed, path in sorted((int(found[1]), path) for found, path in named if found):
        if what := inventory.turned(path, folder) if seed not in now else "":
            raise ArtifactError(f"{path} {what}. Run the arm again (only=[{arm}]), or remove it: {removal(path)}")
        inventory.check(path)
        if (path / file).exists():
            yield seed, path / file
        elif os.path.lexists(path):
            leader.warn(
                f"Left out of the table: {arm} seed {seed}, whose {stage} is not in the store any more ({path}). "
                f"To have it again: only=[{arm}] seeds=[{seed}]."
            )


def _now(cfg: ExperimentSettings, arm: str) -> Container[int]:
    return cfg.seeds if arm in (cfg.only or cfg.arms) else ()


class _Contexts(dict[str, Context]):
    """Arm to its context; for an arm of an earlier run into the same folder, that of the first one of this run."""

    def __missing__(self, arm: str) -> Context:
        return next(iter(self.values()))


def _arms(cfg: ExperimentSettings, folder: Path, arms: _Contexts, stage: str) -> Iterator[Measured]:
    for arm, section in cfg.arms.items():
        for seed, path in _stored(folder, arm, stage, "scores.json", _now(cfg, arm)):
            yield Measured("arm", arm, section.label, seed, *_evaluated(cfg, path.parent, arms[arm]))


def _of_texts(
    cfg: ExperimentSettings, texts: Mapping[str, str], studies: Sequence[Study], findings: Sequence[str], own: Context
) -> list[Measure]:
    """What texts get right, and how they read beside the reports of their studies: by the settings of the experiment,
    one way for all rows."""
    asked = cfg.evaluate.report_text.resolved(cfg.evaluate.prompt or cfg.prompt)
    here = {study.id for study in studies}
    told = [study for study in own.data.studies(cfg.evaluate.split) if study.id in here]
    return [text_outcomes(texts, studies, findings), *report_outcomes(texts, told, asked)]


def _evaluated(cfg: ExperimentSettings, stage: Path, own: Context) -> tuple[list[Measure], list[Row]]:
    """What a stored evaluation counted, and those of its values that have no counts. An earlier version's has fewer
    files."""
    outcomes: list[Measure] = []
    answers = read_rows(stage / "predictions.jsonl")
    studies = _answered(answers, own)
    if studies:
        findings = list(answers[0].get("truth", own.scored))
        texts = {row["study"]: own.thinking.as_read(row["text"]) for row in answers}
        outcomes += _of_texts(cfg, texts, studies, findings, own)
    for name in (*FILES, "likelihoods"):
        rows = read_rows(path) if (path := stage / f"{name}.jsonl").exists() else []
        if rows:
            outcomes.append(measured(name, rows, own.thinking.as_read))
    known = {name for part in outcomes for name, *_ in part.rows()}
    kept = read_scores(stage / "scores.json")
    alone = [row for row in kept if row[0] not in known and (not studies or row[0].startswith(("logp", "cut")))]
    return outcomes, alone


def _answered(answers: Sequence[dict[str, Any]], own: Context) -> list[Study]:
    """Studies of the answers with their labels: beside the answers, or, where an earlier version wrote those, from
    the data set that is at hand; none where it does not hold them all."""
    if all("truth" in row for row in answers):
        return [answered(row) for row in answers]
    known = {study.id: study for study in own.data.studies(own.cfg.evaluate.split)}
    return [known[row["study"]] for row in answers] if all(row["study"] in known for row in answers) else []


def _consensus(cfg: ExperimentSettings, folder: Path, arms: _Contexts) -> Iterator[Measured]:
    """t+ itself by each strategy, where it was found for the evaluation split: it has read the teachers, the arms have
    not. Of arms with one strategy the first one's; texts that all seeds share are one row."""
    if cfg.evaluate.split not in cfg.stages.self_distill.splits:
        return
    told, shared = dict[tuple[str, int], str](), set[Path]()
    for arm, stage in ((arm, run) for arm, own in cfg.arms.items() for run in runs("self_distill", own.stages)):
        for seed, path in _stored(folder, arm, stage, "preferred.jsonl", _now(cfg, arm)):
            name = _strategy(path.parent), number(stage)
            if told.setdefault(name, arm) == arm and path.resolve() not in shared:
                shared.add(path.resolve())
                yield from _texts_of(cfg, read_preferred(path), name, seed, arms[arm])


def _strategy(stage: Path) -> str:
    """Which strategy found the t+ of a stage: an earlier version knew the default one alone."""
    made = inventory.read(stage) if (stage / inventory.MANIFEST).exists() else {}
    return made.get("positive", {"name": DEFAULT})["name"]


def _texts_of(
    cfg: ExperimentSettings, written: Mapping[str, Answer], found: tuple[str, int], seed: int, own: Context
) -> Iterator[Measured]:
    studies = own.data.studies(cfg.evaluate.split)
    texts = {study.id: own.thinking.as_read(written[study.id].text) for study in studies if study.id in written}
    if texts:
        by = ("", "") if found[0] == DEFAULT else (f"_{found[0]}", f" by {found[0]}")
        by = by if found[1] == 1 else (f"{by[0]}_{found[1]}", f"{by[1]}, round {found[1]}")
        cut = sum(written[study].cut for study in texts) / len(texts)
        outcomes, values = _of_texts(cfg, texts, studies, own.scored, own), [("cut", MEAN, cut)]
        yield Measured("baseline", f"preferred{by[0]}", f"t+{by[1]} (reads the teachers)", seed, outcomes, values)


def _untrained(cfg: ExperimentSettings, arms: Mapping[str, Context]) -> Iterator[Measured]:
    """Teachers, votes and constant answers on each arm's own data; arms with one answer share the row. Where another
    arm's data give another one, that row is named for the arm too."""
    seen: dict[tuple[str, str], set[str]] = {}
    heard = pool.heard({name: own.cfg for name, own in arms.items()})
    looked_at: set[tuple[Any, ...]] = set()
    for arm, own in arms.items():
        collected = own.done.get("collect")
        alike = (id(own.data), collected and collected.key, own.thinking, tuple(own.cfg.teachers))
        if alike in looked_at:
            continue
        looked_at.add(alike)
        for row in (*_teachers(cfg, own, heard), *_baselines(own, heard)):
            values, before = repr(list(row.rows())), seen.setdefault((row.kind, row.arm), set())
            if values not in before:
                yield replace(row, arm=f"{row.arm}@{arm}", label=f"{row.label} ({arm})") if before else row
                before.add(values)


def _spoken(studies: Sequence[Study], texts: Container[str]) -> bool:
    """Whether there is a text on any of the studies: recorded teachers know nothing of another evaluation set."""
    return any(study.id in texts for study in studies)


def _teachers(cfg: ExperimentSettings, own: Context, heard: Sequence[str]) -> Iterator[Measured]:
    """Those that have spoken of the evaluation split."""
    studies = own.data.studies(own.cfg.evaluate.split)
    for name in heard:
        if _spoken(studies, {t.study for t in own.trajectories if t.teacher == name}):
            texts = {t.study: t.text for t in own.thinking.apply_policy(own.trajectories, "read") if t.teacher == name}
            outcomes = _of_texts(cfg, texts, studies, own.scored, own)
            yield Measured("teacher", name, name, 0, outcomes)


def _baselines(own: Context, heard: Sequence[str]) -> Iterator[Measured]:
    studies = own.data.studies(own.cfg.evaluate.split)
    spoken = _spoken(studies, {t.study for t in own.trajectories})
    said = own.thinking.apply_policy(own.trajectories, "read")
    made = baseline_outcomes(said, studies, list(heard), own.scored)
    for name, outcomes in made.items():
        if spoken or name != "majority_vote":
            yield Measured("baseline", name, LABELS[name], 0, [outcomes])
    train = own.trained.studies("train")
    if guess := prevalence_outcomes(train, studies, own.scored):
        scored = own.cfg.evaluate.likelihood.form != "off" and not judges_progression(studies)
        known = [prevalence_score_outcomes(train, studies, own.scored)] if scored else []
        yield Measured("baseline", "prevalence", LABELS["prevalence"], 0, [guess, *known])
