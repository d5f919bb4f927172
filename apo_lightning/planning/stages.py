"""The stages of an arm: what each needs and how long it takes, and what would make it fit."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import needs as needed
from apo_lightning.models.sizes import architecture
from apo_lightning.planning.cards import EVALUATED_LAYERS, RECOMPUTED, TOKEN_SECONDS, USE, Card
from apo_lightning.planning.lengths import Lengths
from apo_lightning.planning.memory import Need, linears, needs, writing
from apo_lightning.settings import ExperimentSettings, rounds
from apo_lightning.stages.apo import CHOSEN

FILL = 0.94
"""Part of a card's memory that a plan may fill; the rest goes in pieces between blocks."""


@dataclass(frozen=True)
class Plan:
    """One stage.

    Attributes:
        name: of the stage.
        need: bytes on each device; None where nothing is computed here.
        mode: in which answers are scored.
        steps: of the optimiser, or batches that are written.
        step: seconds of one.
        why: where something is not known.
    """

    name: str
    need: Need | None
    mode: str
    steps: int | None
    step: float
    why: str = ""

    @property
    def seconds(self) -> float | None:
        return None if self.steps is None else self.steps * self.step

    def fits(self, card: Card) -> bool:
        return self.need is None or self.need.total <= FILL * card.gb * 1e9


def plan(cfg: ExperimentSettings, arm: str, lengths: Lengths, card: Card) -> list[Plan]:
    """All stages of an arm on devices of one kind; ``cfg``: its resolved settings.

    Raises:
        ConfigError: the student's architecture is not known.
    """
    stages, lengths = cfg.arms[arm].stages, replace(lengths, answers=min(lengths.answers, 1 + heard(cfg)))
    found = []
    for place, name in enumerate(stages):
        if rounds.first(name) != "self_distill":
            found.append(_fit(cfg, name, lengths, card, earlier=any(s != "self_distill" for s in stages[:place])))
        else:
            found.append(_written(cfg, name, lengths))
    return [*found, _written(cfg, "evaluate", lengths)]


def heard(cfg: ExperimentSettings) -> int:
    """Teachers that an arm hears, at most."""
    select = cfg.pool.select
    return len(select) if isinstance(select, list) else 1 if select == "best_on_val" else len(cfg.teachers)


def _fit(cfg: ExperimentSettings, name: str, lengths: Lengths, card: Card, *, earlier: bool) -> Plan:
    own, settings = getattr(cfg.stages, name), cfg.student
    prompts = [lengths.prompt] * own.batch_studies
    answers = [[lengths.answer] * _answers(cfg, name, lengths)] * own.batch_studies
    shards = cfg.trainer.devices * cfg.trainer.num_nodes if cfg.trainer.strategy == "fsdp2" else 1
    mode, rows = _mode(cfg, settings.scorer.mode, shards), settings.scorer.rows or 1
    need = needs(settings, prompts, answers, mode=mode, rows=rows, earlier=earlier, shards=shards)
    if settings.scorer.mode == "auto" and need.total > FILL * card.gb * 1e9:
        mode = "branchwise"
        need = needs(settings, prompts, answers, mode=mode, rows=rows, earlier=earlier, shards=shards)
    rate = USE[mode] * (RECOMPUTED if settings.gradient_checkpointing else 1) * card.tflops * 1e12
    usual = [[lengths.usual] * len(row) for row in answers]
    return Plan(name, need, mode, own.steps, own.accumulate * flops(settings, prompts, usual) / rate)


def _answers(cfg: ExperimentSettings, name: str, lengths: Lengths) -> int:
    """SFT learns t+ alone, SPD the teachers' texts, a preference stage both, but for a loss that hears t+ alone."""
    first = rounds.first(name)
    loss = getattr(getattr(cfg.stages, name), "loss", None) or {}
    if first == "apo" and needed(LOSSES[loss["name"]]) <= CHOSEN:
        return 1
    return {"sft": 1, "context_distill": 1, "spd": max(1, lengths.answers - 1)}.get(first, lengths.answers)


def _mode(cfg: ExperimentSettings, asked: str, shards: int) -> str:
    if asked != "auto":
        return asked
    return "packed" if cfg.student.dtype != "float32" and shards == 1 else "joint"


def flops(student: Any, prompts: list[int], answers: list[list[float]]) -> float:
    """Products of one pass and of the gradients of its inputs, over frozen weights: twice 2 x weights x tokens, the
    head on scored tokens, and attention. Weights that are trained cost half as much again."""
    config = architecture(student.model).get_text_config()
    scored = sum(map(sum, answers))
    tokens, width = sum(prompts) + scored, config.hidden_size
    pairs = sum(p**2 / 2 + sum(p * a + a**2 / 2 for a in row) for p, row in zip(prompts, answers, strict=True))
    made = 4 * linears(config) * tokens + 4 * config.vocab_size * width * scored
    made += 12 * width * pairs * config.num_hidden_layers
    return made * (1.5 if student.adapter.kind == "full" else 1)


def _written(cfg: ExperimentSettings, name: str, lengths: Lengths) -> Plan:
    """Stages that write: a batch takes as many steps as its longest answer."""
    own = cfg.evaluate if name == "evaluate" else getattr(cfg.stages, name)
    splits = [cfg.evaluate.split] if name == "evaluate" else own.splits
    counts = [lengths.studies.get(split) for split in splits]
    layers = architecture(cfg.student.model).get_text_config().num_hidden_layers
    each = TOKEN_SECONDS["compiled" if cfg.student.compiled_writing else "eager"] * layers / EVALUATED_LAYERS
    step = each * min(own.max_new_tokens, max(lengths.usual, 1))
    positive = getattr(own, "positive", {"name": "student"})["name"]
    if name != "evaluate" and not positive.startswith("student"):
        return Plan(name, None, "", 0, 0.0, "the texts are the teachers'")
    need = _to_write(cfg, name, lengths)
    if None in counts:
        return Plan(name, need, "", None, step, f"the number of studies in {', '.join(splits)} is not known")
    share = cfg.trainer.devices * cfg.trainer.num_nodes
    batches = sum(math.ceil(count / own.batch_studies / share) for count in counts)
    times = 1 + own.samples if name == "evaluate" else own.samples
    return Plan(name, need, "", batches * times, step)


def _to_write(cfg: ExperimentSettings, name: str, lengths: Lengths) -> Need | None:
    """None where a server writes. t+ is written behind the teachers' texts."""
    if cfg.student.server.url is not None:
        return None
    own, prompt = (cfg.evaluate if name == "evaluate" else getattr(cfg.stages, name)), lengths.prompt
    if name != "evaluate":
        prompt = min(cfg.student.max_context_tokens, prompt + (lengths.answers - 1) * lengths.answer)
    return writing(cfg.student, own.batch_studies * max(1, own.samples), prompt, own.max_new_tokens)


def remedies(cfg: ExperimentSettings, arm: str, lengths: Lengths, card: Card) -> Iterator[tuple[str, float]]:
    """Settings under which every stage would fit, one of the student at most and smaller batches where answers are
    written, with the most that a device then holds, in bytes."""
    own = cfg.student
    changes = {
        "": own,
        "student.gradient_checkpointing=true": replace(own, gradient_checkpointing=True),
        "student.scorer.mode=branchwise": replace(own, scorer=replace(own.scorer, mode="branchwise")),
        "student.adapter.kind=qlora": replace(own, adapter=replace(own.adapter, kind="qlora")),
        "student.adapter.kind=qlora student.gradient_checkpointing=true": replace(
            own, adapter=replace(own.adapter, kind="qlora"), gradient_checkpointing=True
        ),
    }
    offered: list[tuple[list[str], float]] = []
    for words, student in changes.items():
        if words and student == own:
            continue
        other, batches = _in_smaller_batches(replace(cfg, student=student), arm, lengths, card)
        found = plan(other, arm, lengths, card)
        if not (words or batches) or not all(stage.fits(card) for stage in found):
            continue
        most = max(stage.need.total for stage in found if stage.need)
        if any(set(less) <= set(batches) and other_most <= most for less, other_most in offered):
            continue  # a setting that gains nothing over what was offered before it
        offered.append((batches, most))
        yield " ".join([*filter(None, [words]), *batches]), most


def _in_smaller_batches(
    cfg: ExperimentSettings, arm: str, lengths: Lengths, card: Card
) -> tuple[ExperimentSettings, list[str]]:
    """The same with batches of writing halved until they fit, or are of one study; and the settings that say so."""
    changed = []
    for name in dict.fromkeys((*(n for n in cfg.arms[arm].stages if rounds.first(n) == "self_distill"), "evaluate")):
        own = cfg.evaluate if name == "evaluate" else getattr(cfg.stages, name)
        size = own.batch_studies
        while size > 1 and not _written(cfg, name, lengths).fits(card):
            size //= 2
            less = replace(own, batch_studies=size)
            cfg = replace(cfg, **({"evaluate": less} if name == "evaluate" else _of_stage(cfg, name, less)))
        if size < own.batch_studies:
            changed.append(f"{'' if name == 'evaluate' else 'stages.'}{name}.batch_studies={size}")
    return cfg, changed


def _of_stage(cfg: ExperimentSettings, name: str, own: Any) -> dict[str, Any]:
    stages = copy.copy(cfg.stages)
    setattr(stages, name, own)
    return {"stages": stages}
