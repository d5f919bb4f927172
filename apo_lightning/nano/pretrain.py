"""Teaches the nano network both skills at once and writes the folder that `student.model: nano` loads."""

from __future__ import annotations

import argparse
import filecmp
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from rich.table import Table
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, IterableDataset
from transformers import AutoModelForImageTextToText, AutoTokenizer

from apo_lightning.batching.collate import Collator
from apo_lightning.console import Console
from apo_lightning.models.processor import NANO, JoinedProcessor
from apo_lightning.nano import parts
from apo_lightning.nano.skills import biased_view, describe, reconcile
from apo_lightning.phantom.drawing import draw
from apo_lightning.phantom.world import FINDINGS, Case, cases
from apo_lightning.prompts import render
from apo_lightning.scoring import model_inputs, score
from apo_lightning.text.labeler import parse
from apo_lightning.types import Branch, BranchBatch, Example, PromptBatch, Study, Trajectory

FIRST_PATIENT = 1_000_000
"""Pre-training patients are none of those that any data module draws (they count from 0)."""
WORLD_SEED = 20_251_004
LIMITS = dict(max_prompt_tokens=64, max_branch_tokens=160, max_context_tokens=1200)


def _example(case: Case, answer: str, reports: list[str] | None = None) -> Example:
    study = Study(case.id, str(case.patient), "train", (), {})
    context = tuple(Trajectory(case.id, str(i), text) for i, text in enumerate(reports or ()))
    return Example(study, (Branch("answer", answer),), context)


@dataclass(frozen=True)
class Phase:
    """A stretch of pre-training. ``readers`` maps a number of readers to how often a step debates with that many:
    counting votes is learned only after restating one reader is. ``plain`` is the share of descriptions in the
    neutral style, which the student speaks by itself in the end, as it does when it reconciles. ``forms``: reports in
    all of them, which come last, since copying is not learned from them."""

    steps: int
    sights: int
    reports: int
    readers: dict[int, float]
    plain: float = 0.0
    lr: float = 1.5e-3
    forms: bool = False


PHASES = (
    Phase(1600, sights=28, reports=70, readers={7: 1.0}),
    Phase(800, sights=4, reports=48, readers={1: 0.8, 2: 0.2}),
    Phase(1000, sights=8, reports=70, readers={1: 0.1, 3: 0.2, 4: 0.05, 5: 0.15, 6: 0.15, 7: 0.35}),
    Phase(450, sights=32, reports=28, readers={1: 0.1, 3: 0.2, 5: 0.2, 7: 0.5}, plain=0.7, lr=1e-3),
    Phase(1000, sights=20, reports=63, readers={1: 0.1, 3: 0.2, 5: 0.2, 7: 0.5}, plain=0.7, lr=8e-4, forms=True),
    Phase(
        1200,
        sights=10,
        reports=84,
        readers={1: 0.1, 2: 0.05, 3: 0.2, 5: 0.2, 7: 0.45},
        plain=0.7,
        lr=1e-3,
        forms=True,
    ),
)
OUT = Path("build/nano")
WEIGHTS = "model.safetensors"
NEAR = 0.02
"""How far two students of one recipe may lie apart in a skill: sums are rounded otherwise on another machine, and 5,000
steps later the students differ. 200 patients have a standard error of some .007."""
THREADS = 2
"""Sums over another number of threads differ in their last bits, and so would the weights."""


class Lessons(IterableDataset):
    """Endless pairs of batches: seeing (``sights`` studies) and reconciling (about ``reports`` reports in all)."""

    def __init__(self, pool: list[tuple[Case, Any]], see: Collator, weigh: Collator, phase: Phase, seed: int) -> None:
        self.pool, self.see, self.weigh, self.phase, self.seed = pool, see, weigh, phase, seed

    def __iter__(self) -> Iterator[tuple[BranchBatch, BranchBatch]]:
        rng = np.random.default_rng(self.seed)
        counts, shares = zip(*self.phase.readers.items(), strict=True)
        while True:
            readers = int(rng.choice(counts, p=np.array(shares) / sum(shares)))
            debates = min(48, self.phase.reports // readers)
            picks = [self.pool[i] for i in rng.integers(len(self.pool), size=self.phase.sights + debates)]
            sights = [
                (_example(case, describe(case, rng, self.phase.plain, self.phase.forms)), [image])
                for case, image in picks[: self.phase.sights]
            ]
            disputed = [
                (case, image, reconcile(rng, readers, self.phase.forms)) for case, image in picks[self.phase.sights :]
            ]
            yield (
                self.see(sights),
                self.weigh([(_example(c, answer, texts), [i]) for c, i, (texts, answer) in disputed]),
            )


class Pretraining(LightningModule):
    """Token cross-entropy on the answers of both lessons."""

    def __init__(self, network: Any, steps: int, lr: float) -> None:
        super().__init__()
        self.network, self.steps, self.lr, self.began = network, steps, lr, time.time()
        self.recent: list[list[float]] = []

    def training_step(self, batch: tuple[BranchBatch, BranchBatch], index: int) -> torch.Tensor:
        losses = []
        for lesson in batch:
            scores = score(self.network, lesson)
            losses.append(-scores.logps.sum() / scores.lengths.sum())
        self.recent.append([loss.item() for loss in losses])
        if (index + 1) % 50 == 0:
            sight, debate = np.mean(self.recent, axis=0)
            self.recent.clear()
            left = (time.time() - self.began) / (index + 1) * (self.steps - index - 1)
            print(
                f"step {index + 1} of {self.steps}: loss of seeing {sight:.3f}, of reconciling {debate:.3f}, "
                f"about {left / 60:.0f} min of this phase left",
                flush=True,
            )
        return sum(losses)

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.lr, betas=(0.9, 0.98), weight_decay=0.01)
        ramp = lambda k: min((k + 1) / 100, 0.02 + 0.98 * (1 + np.cos(np.pi * min(k / self.steps, 1))) / 2)  # noqa: E731
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, ramp), "interval": "step"}}


@torch.no_grad()
def answers(network: Any, tokenizer: Any, batch: PromptBatch, limit: int = 120) -> list[str]:
    """Greedy answers to a batch of prompts."""
    ids = network.generate(**model_inputs(network, batch), max_new_tokens=limit, do_sample=False)
    return tokenizer.batch_decode(ids[:, batch.prefix_ids.shape[1] :], skip_special_tokens=True)


def _agreement(texts: list[str], truths: list[set[str]]) -> float:
    parsed = [parse(text, FINDINGS) for text in texts]
    return float(
        np.mean([(row[f] == 1.0) == (f in truth) for row, truth in zip(parsed, truths, strict=True) for f in FINDINGS])
    )


def examine(network: Any, see: Collator, weigh: Collator, count: int = 200) -> dict[str, float]:
    """Accuracy of seeing against the truth and against the rule it was taught, and of reconciling new readers."""
    network.eval()
    tests = cases(WORLD_SEED + 1, count, FIRST_PATIENT)
    plain = [(Example(_example(case, "").study), [draw(case, parts.SIDE)]) for case in tests]
    seen = _in_batches(network, see, plain)
    found = {
        "seeing_vs_truth": _agreement(seen, [set(case.present) for case in tests]),
        "seeing_vs_rule": _agreement(seen, [set(biased_view(case.present)) for case in tests]),
    }
    for readers in (1, 3, 7):
        rng, debates, agreed = np.random.default_rng(1), [], []
        for case, (_, images) in zip(tests, plain, strict=True):
            reports, answer = reconcile(rng, readers)
            debates.append((Example(_example(case, "").study, (), _example(case, "", reports).context), images))
            agreed.append({f for f, v in parse(answer, FINDINGS).items() if v == 1.0})
        found[f"reconciling_{readers}"] = _agreement(_in_batches(network, weigh, debates), agreed)
    return found


def _in_batches(network: Any, collate: Collator, items: list[Any], size: int = 50) -> list[str]:
    return [
        t for i in range(0, len(items), size) for t in answers(network, collate.tokenizer, collate(items[i : i + size]))
    ]


def _corpus(count: int = 3000) -> Iterator[str]:
    rng = np.random.default_rng(0)
    for name in ("describe", "diagnose", "report"):
        yield render(name, FINDINGS)
    for _ in range(count):
        yield render("reconcile", FINDINGS, reconcile(rng, forms=False)[0])


def teach(network: Any, phase: Phase, lessons: Lessons) -> None:
    """Train for one phase, in place."""
    trainer = Trainer(
        max_steps=phase.steps,
        accelerator="cpu",  # a GPU would give other bits, and is hardly faster on 2 M parameters
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        gradient_clip_val=1.0,
    )
    trainer.fit(Pretraining(network.train(), phase.steps, phase.lr), DataLoader(lessons, batch_size=None))


def recipe(
    out: Path,
    *,
    seed: int = 0,
    first: int = 0,
    phases: Sequence[Phase] = PHASES,
    patients: int = 4000,
    asked: int = 200,
) -> Iterator[tuple[int, dict[str, float]]]:
    """Build, teach phase after phase, and write after each. One call and several that go on from what the last one
    wrote give the same bytes on one machine.

    Args:
        out: folder to write, and to go on from.
        seed: of the random weights; each phase draws from this plus its number.
        first: phase to begin with; 0: from random weights.
        phases: all of them.
        patients: that lessons are drawn from.
        asked: new patients of each skill's measure.

    Yields:
        number and skills (`examine`) of each phase once it is written.
    """
    torch.set_num_threads(THREADS)
    pool = [(case, draw(case, parts.SIDE)) for case in cases(WORLD_SEED, patients, FIRST_PATIENT)]
    for number, phase in list(enumerate(phases))[first:]:
        if number == 0:
            tokenizer = parts.build_tokenizer(_corpus())
            network = parts.build_network(tokenizer, seed)
        else:  # also in one call: a network that was read says more of itself when it is written again
            tokenizer = AutoTokenizer.from_pretrained(out, trust_remote_code=False)
            network = AutoModelForImageTextToText.from_pretrained(out, trust_remote_code=False)
        processor = JoinedProcessor(parts.build_image_processor(), tokenizer)
        see = Collator(processor, prompt="describe", findings=FINDINGS, **LIMITS)
        weigh = Collator(processor, prompt="reconcile", findings=FINDINGS, **LIMITS)
        seed_everything(seed + number)
        teach(network, phase, Lessons(pool, see, weigh, phase, seed + number))
        parts.save(out, network.float(), tokenizer)
        yield number, examine(network, see, weigh, asked)


def skills_of(folder: Path, asked: int = 200) -> dict[str, float]:
    """What a student that was written can do (`examine`)."""
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    processor = JoinedProcessor(parts.build_image_processor(), tokenizer)
    see, weigh = (
        Collator(processor, prompt=prompt, findings=FINDINGS, **LIMITS) for prompt in ("describe", "reconcile")
    )
    return examine(AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=False), see, weigh, asked)


def compared(made: Mapping[str, float], committed: Mapping[str, float]) -> tuple[Table, bool]:
    """Both students' skills side by side, and whether each of the new one is less than `NEAR` below the other's."""
    table = Table("accuracy on new patients", "committed", "made", title="embedded student")
    for name, value in made.items():
        table.add_row(name.replace("_", " "), f"{committed[name]:.3f}", f"{value:.3f}")
    return table, all(value > committed[name] - NEAR for name, value in made.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Walk the recipe, and say what the student can do, beside the committed one. Status 1 where it can do less."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder to write ({OUT})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="continue from --out with this phase")
    args = parser.parse_args(arguments)
    committed = skills_of(NANO)  # first: --out may be its folder
    made: dict[str, float] = {}
    for number, skills in recipe(args.out, seed=args.seed, first=args.first):
        print(f"phase {number}", skills, flush=True)
        made = skills
    table, near = compared(made, committed)
    console = Console()
    console.print(table)
    if not near:
        console.print(f"A skill is {NEAR} or more below that of the committed student.", style="red")
        return 1
    same = filecmp.cmp(args.out / WEIGHTS, NANO / WEIGHTS, shallow=False)
    how = (
        "The committed student, byte for byte." if same else f"Of one kind with the committed student (within {NEAR})."
    )
    console.print(f"{how} To use it: student.model={args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
