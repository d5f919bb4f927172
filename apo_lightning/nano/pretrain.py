"""Teaches the nano network both skills at once and writes the folder that `student.model: nano` loads."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, IterableDataset

from apo_lightning.collate import Collator
from apo_lightning.nano import parts
from apo_lightning.nano.skills import biased_view, describe, reconcile
from apo_lightning.phantom.drawing import draw
from apo_lightning.phantom.world import FINDINGS, Case, cases
from apo_lightning.processor import NANO, JoinedProcessor
from apo_lightning.prompts import render
from apo_lightning.scoring import model_inputs, score
from apo_lightning.types import Branch, BranchBatch, Example, PromptBatch, Study, Trajectory

FIRST_PATIENT = 1_000_000
"""Pre-training patients are none of those that any data module draws (they count from 0)."""
WORLD_SEED = 20_251_004
LIMITS = dict(max_prompt_tokens=64, max_branch_tokens=160, max_context_tokens=1200)


def _example(case: Case, answer: str, reports: list[str] | None = None) -> Example:
    study = Study(case.id, str(case.patient), "train", (), {})
    context = tuple(Trajectory(case.id, str(i), text) for i, text in enumerate(reports or ()))
    return Example(study, (Branch("answer", answer),), context)


class Lessons(IterableDataset):
    """Endless pairs of batches: seeing (``sights`` studies) and reconciling (``debates`` studies)."""

    def __init__(self, pool: list[tuple[Case, Any]], see: Collator, weigh: Collator, sights: int, debates: int,
                 seed: int) -> None:  # fmt: skip
        self.pool, self.see, self.weigh = pool, see, weigh
        self.sights, self.debates, self.seed = sights, debates, seed

    def __iter__(self) -> Iterator[tuple[BranchBatch, BranchBatch]]:
        rng = np.random.default_rng(self.seed)
        while True:
            picks = [self.pool[i] for i in rng.integers(len(self.pool), size=self.sights + self.debates)]
            sights = [(_example(case, describe(case, rng)), [image]) for case, image in picks[: self.sights]]
            debates = []
            for case, image in picks[self.sights :]:
                reports, answer = reconcile(rng)
                debates.append((_example(case, answer, reports), [image]))
            yield self.see(sights), self.weigh(debates)


class Pretraining(LightningModule):
    """Token cross-entropy on the answers of both lessons."""

    def __init__(self, network: Any, steps: int, lr: float) -> None:
        super().__init__()
        self.network, self.steps, self.lr, self.began = network, steps, lr, time.time()

    def training_step(self, batch: tuple[BranchBatch, BranchBatch], index: int) -> torch.Tensor:
        losses = []
        for lesson in batch:
            scores = score(self.network, lesson)
            losses.append(-scores.logps.sum() / scores.lengths.sum())
        if index % 50 == 0:
            sight, debate = (round(float(loss), 4) for loss in losses)
            print(f"step {index} seeing {sight} reconciling {debate} {time.time() - self.began:.0f} s", flush=True)
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
    from apo_lightning.metrics.labeler import parse

    parsed = [parse(text, FINDINGS) for text in texts]
    return float(np.mean([(row[f] == 1.0) == (f in truth) for row, truth in zip(parsed, truths, strict=True) for f in FINDINGS]))


def examine(network: Any, see: Collator, weigh: Collator, count: int = 200) -> dict[str, float]:
    """Accuracy of seeing against the truth and against the rule it was taught, and of reconciling new readers."""
    from apo_lightning.metrics.labeler import parse

    network.eval()
    tests = cases(WORLD_SEED + 1, count, FIRST_PATIENT)
    plain = [(Example(_example(case, "").study), [draw(case, parts.SIDE)]) for case in tests]
    seen = [text for i in range(0, count, 50) for text in answers(network, see.tokenizer, see(plain[i : i + 50]))]
    rng, debates, agreed = np.random.default_rng(1), [], []
    for case, (_, images) in zip(tests, plain, strict=True):
        reports, answer = reconcile(rng)
        debates.append((Example(_example(case, "").study, (), _example(case, "", reports).context), images))
        agreed.append({f for f, v in parse(answer, FINDINGS).items() if v == 1.0})
    weighed = [t for i in range(0, count, 50) for t in answers(network, see.tokenizer, weigh(debates[i : i + 50]))]
    print(*seen[:3], *weighed[:2], sep="\n")
    return {
        "seeing_vs_truth": _agreement(seen, [set(case.present) for case in tests]),
        "seeing_vs_rule": _agreement(seen, [set(biased_view(case.present)) for case in tests]),
        "reconciling": _agreement(weighed, agreed),
    }


def _corpus(count: int = 3000) -> Iterator[str]:
    rng = np.random.default_rng(0)
    for name in ("describe", "diagnose", "report"):
        yield render(name, FINDINGS)
    for _ in range(count):
        yield render("reconcile", FINDINGS, reconcile(rng)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=NANO)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--sights", type=int, default=28)
    parser.add_argument("--debates", type=int, default=10)
    args = parser.parse_args()
    seed_everything(args.seed)
    tokenizer = parts.build_tokenizer(_corpus())
    processor = JoinedProcessor(tokenizer, parts.build_image_processor())
    network = parts.build_network(tokenizer, args.seed)
    print(len(tokenizer), "tokens,", sum(p.numel() for p in network.parameters()), "parameters")
    see = Collator(processor, prompt="describe", findings=FINDINGS, **LIMITS)
    weigh = Collator(processor, prompt="reconcile", findings=FINDINGS, **LIMITS)
    pool = [(case, draw(case, parts.SIDE)) for case in cases(WORLD_SEED, 4000, FIRST_PATIENT)]
    lessons = DataLoader(Lessons(pool, see, weigh, args.sights, args.debates, args.seed), batch_size=None)
    trainer = Trainer(
        max_steps=args.steps, accelerator="auto", devices=1, precision="bf16-mixed", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, gradient_clip_val=1.0,
    )  # fmt: skip
    trainer.fit(Pretraining(network, args.steps, args.lr), lessons)
    parts.save(args.out, network.float(), tokenizer)
    print(examine(network, see, weigh))


if __name__ == "__main__":
    main()
