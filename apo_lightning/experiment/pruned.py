"""Arms that hear the cheapest teachers: who those are, and ``pruning.json``, what leaving out the others saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from apo_lightning import leader
from apo_lightning.config.rules import CHEAPEST
from apo_lightning.drift import pruning
from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.pruning import FREE, Cost, Ranking
from apo_lightning.errors import ConfigError
from apo_lightning.files.formats import read_json, write_json
from apo_lightning.hashing import inventory
from apo_lightning.settings import ExperimentSettings, PriceSettings, PruneSettings
from apo_lightning.text.progression import judges_progression
from apo_lightning.types import Study

NAME = "pruning.json"
KEY = "pool.select"
PAID = ("train", "val")
"""Splits whose texts the method needs; of the validation split those of all teachers, to choose among them."""


def require(cfg: ExperimentSettings, studies: Sequence[Study], findings: Sequence[str]) -> None:
    """See that validation studies have the labels that the cheapest teachers are chosen by, before anything is trained.

    Raises:
        ConfigError: they have not.
    """
    if cfg.pool.select != CHEAPEST:
        return
    if judges_progression(studies):
        raise ConfigError(
            f"{KEY} '{CHEAPEST}' goes by the vote on which findings are present, and '{cfg.data['name']}' is labelled "
            "with their course (improving, stable, worsening). Name the teachers instead, as in [gpt5, glm45v]."
        )
    if not any(study.findings.get(name) in (0, 1) for study in studies for name in findings):
        raise ConfigError(
            f"{KEY} '{CHEAPEST}' compares votes with the labels of validation studies, and none of the {len(studies)} "
            f"of '{cfg.data['name']}' has a label. Give the split labelled studies, or name the teachers."
        )


def ranking(own: Any) -> Ranking:
    """What each teacher adds, and the cheapest of them, by the validation studies of an arm's context."""
    cfg, studies = own.cfg, own.data.studies("val")
    plan, known = cfg.pool.prune or PruneSettings(), {study.id for study in studies}
    said = [text for text in own.thinking.apply_policy(own.trajectories, "read") if text.study in known]
    corpus = Corpus.of(said, studies, own.judged_by)
    corpus = corpus.only(teachers=[name for name in cfg.teachers if name in corpus.teachers])
    spent = _spent(own, studies)
    costs = {name: sum(each.values(), FREE) * (1 / len(each)) for name, each in spent.items() if each}
    return pruning.rank(corpus, costs, loss=plan.loss, by=plan.by, at_least=plan.at_least)


def prices(cfg: ExperimentSettings) -> dict[str, PriceSettings]:
    """Teacher to price: that of ``pool.prune.prices``, else what a teacher's own section says (``kind: api``)."""
    own = {name: section.get("price") for name, section in cfg.teachers.items()}
    told = {name: {key: value or 0.0 for key, value in each.items()} for name, each in own.items() if each}
    return {name: PriceSettings(**each) for name, each in told.items()} | (cfg.pool.prune or PruneSettings()).prices


def _spent(own: Any, studies: Sequence[Study]) -> dict[str, dict[str, Cost]]:
    """Teacher to study to what its answer cost: as its endpoint counted it, else by the words of the text."""
    plan, price, known = own.cfg.pool.prune or PruneSettings(), prices(own.cfg), {study.id for study in studies}
    found: dict[str, dict[str, Cost]] = {name: {} for name in own.cfg.teachers}
    for said in (text for text in own.trajectories if text.study in known and text.teacher in found):
        words = len(said.text.split())
        found[said.teacher][said.study] = pruning.cost(words, price.get(said.teacher), plan.prompt_tokens)
    for name, each in found.items():
        counted = getattr(own.teacher(name), "counted", None)
        each |= {
            study: pruning.paid(answer.input_tokens, answer.output_tokens, price.get(name), answer.seconds)
            for study, answer in (counted(studies) if counted else {}).items()
            if study in each and None not in (answer.input_tokens, answer.output_tokens)
        }
    return found


def write(cfg: ExperimentSettings, run_folder: Path, arms: Mapping[str, Any]) -> Path | None:
    """``pruning.json`` and a sentence for each arm that heard the cheapest teachers; None where there is none.

    Args:
        cfg: the experiment.
        run_folder: of its results.
        arms: each arm's context, with all that its last seed has done.
    """
    rows = [_told(cfg, run_folder, own, arms) for own in arms.values() if own.cfg.pool.select == CHEAPEST]
    rows = [{**row, "told": sentence(row)} for row in rows]
    for row in rows:
        leader.say_plainly(row["told"])
    before = read_json(run_folder / NAME) if (run_folder / NAME).is_file() else []
    rows = [row for row in before if row["arm"] in cfg.arms and row["arm"] not in arms] + rows
    return write_json(run_folder / NAME, rows) if rows else None


def sentence(row: Mapping[str, Any]) -> str:
    """What an arm of ``pruning.json`` saved, in words."""
    saved, whole = row["saved"], row["whole"]
    share = {name: saved[name] / whole[name] if whole[name] else 0.0 for name in saved}
    parts = [f"{saved['requests']:,.0f} requests ({share['requests']:.0%})"]
    parts += [f"{saved['tokens']:,.0f} tokens ({share['tokens']:.0%})"]
    parts += (
        [f"{saved['money']:,.2f} of {whole['money']:,.2f} in money ({share['money']:.0%})"] if whole["money"] else []
    )
    parts += [f"{saved['seconds'] / 3600:,.1f} hours of asking"] if whole["seconds"] else []
    if row["training_seconds"]:
        own, other = row["training_seconds"]["own"], row["training_seconds"]["all"]
        parts.append(f"{other - own:,.0f} of {other:,.0f} s of training")
    left = f"{', '.join(row['teachers'])} instead of {len(row['added'])} teachers"
    return f"{row['arm']} hears {left} and saves {', '.join(parts)}."


def _told(cfg: ExperimentSettings, run_folder: Path, own: Any, arms: Mapping[str, Any]) -> dict[str, Any]:
    found: Ranking = own.ranking
    whole, paid = _paid(own)
    saved = {name: value - getattr(paid, name) for name, value in asdict(whole).items()}
    return {
        "arm": own.arm,
        "teachers": list(own.teachers),
        "loss": found.loss,
        "by": found.by,
        "validation_studies": found.studies,
        "added": [asdict(each) for each in found.added],
        "all": asdict(found.whole),
        "cheapest": asdict(found.cheapest) if found.cheapest else None,
        "splits": list(PAID),
        "whole": asdict(whole),
        "paid": asdict(paid),
        "saved": saved,
        "training_seconds": _training(cfg, run_folder, own, arms),
    }


def _paid(own: Any) -> tuple[Cost, Cost]:
    """What the texts of all teachers cost, and what those cost that the arm needs: of its own teachers on what it is
    trained on, of all on validation studies, by which it has chosen."""
    spent = {split: _spent(own, own.trained.studies(split)) for split in PAID}
    each = [(split, name, sum(costs.values(), FREE)) for split, found in spent.items() for name, costs in found.items()]
    needed = (cost for split, name, cost in each if split == "val" or name in own.teachers)
    return sum((cost for *_, cost in each), FREE), sum(needed, FREE)


def _training(cfg: ExperimentSettings, run_folder: Path, own: Any, arms: Mapping[str, Any]) -> dict[str, Any] | None:
    """Mean seconds over seeds of the stages of this arm, and of the one that differs in whom it hears alone."""
    other = next((each for each in arms.values() if _twins(cfg, own, each)), None)
    if other is None:
        return None
    spent = {each.arm: [sum(one) for one in _seconds(run_folder, each, cfg.seeds)] for each in (own, other)}
    means = [fmean(values) if values else 0.0 for values in spent.values()]
    return {"own": means[0], "all": means[1], "arm": other.arm}


def _twins(cfg: ExperimentSettings, own: Any, other: Any) -> bool:
    """Whether ``other`` is ``own`` but for hearing all teachers."""

    def rest(arm: str) -> dict[str, Any]:
        return {key: value for key, value in cfg.arms[arm].set.items() if not key.startswith("pool")}

    same = cfg.arms[own.arm].stages == cfg.arms[other.arm].stages and rest(own.arm) == rest(other.arm)
    return same and other.cfg.pool.select == "all"


def _seconds(run_folder: Path, own: Any, seeds: Sequence[int]) -> Iterator[list[float]]:
    """For each seed the seconds of each stage, as its manifest has them."""
    for seed in seeds:
        stages = [run_folder / own.arm / f"seed{seed}" / name for name in own.stages]
        records = [inventory.read(path) for path in stages if (path / inventory.MANIFEST).is_file()]
        yield [float(record.get("seconds") or 0) for record in records]
