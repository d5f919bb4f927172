"""How much of what an adapter has learned is still there after saving and loading: beside the weights, as students keep
it, and merged into them.

Trains a LoRA adapter over the nano student with AdamW in each precision, saves it, and compares the change it makes to
every layer's weight with the change that is left, as a share: <left, made> / <made, made> over all layers. The last
columns are the largest difference between the log-probabilities of the live and of the loaded student over the texts of
a batch, and how far training has moved them.

    python benchmarks/adapter_survival.py [--steps 20 75 200] [--lrs 5e-7 5e-6 2e-4] [--dtypes float32 bfloat16 float16]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from peft.tuners.lora import LoraLayer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from apo_lightning.batching.collate import Collator
from apo_lightning.models.student import Student
from apo_lightning.phantom.drawing import draw
from apo_lightning.phantom.wording import ground_truth
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.settings import AdapterSettings, StudentSettings
from apo_lightning.types import Branch, BranchBatch, Example, Study

SIDE, STUDIES = 112, 2
LIMITS = dict(max_prompt_tokens=96, max_branch_tokens=160, max_context_tokens=1200)


def changes(student: Student) -> dict[str, Tensor]:
    """What all adapters of a student add to each layer's weight, in float64."""
    found = {}
    for name, layer in student.model.named_modules():
        if isinstance(layer, LoraLayer):
            parts = [
                layer.lora_B[k].weight.double() @ layer.lora_A[k].weight.double() * layer.scaling[k]
                for k in layer.active_adapters
            ]
            found[name] = torch.stack(parts).sum(0)
    return found


def merged(student: Student) -> dict[str, Tensor]:
    """What is left of it where each layer's weight takes it up in its own precision."""
    made, found = changes(student), {}
    for name, change in made.items():
        weight = student.model.get_submodule(name).base_layer.weight
        found[name] = (weight + change.to(weight.dtype)).double() - weight.double()
    return found


def share(made: dict[str, Tensor], left: dict[str, Tensor]) -> float:
    """<left, made> / <made, made> over all layers."""
    return float(sum((left[k] * v).sum() for k, v in made.items()) / sum((v * v).sum() for v in made.values()))


def batch(student: Student, seed: int) -> BranchBatch:
    """Drawn studies, each with its true report and the one of another study."""
    collate = Collator(student.processor, prompt="diagnose", findings=FINDINGS, **LIMITS)
    found = cases(seed, STUDIES)
    items = [
        (
            Example(
                Study(case.id, str(case.patient), "train", (), {}),
                (Branch("own", ground_truth(case.present)), Branch("other", ground_truth(found[i - 1].present))),
            ),
            [draw(case, SIDE)],
        )
        for i, case in enumerate(found)
    ]
    return collate(items)


def train(student: Student, steps: int, lr: float) -> Iterator[int]:
    """Own report up, another one's down. Yields the number of steps after each."""
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=lr)
    data = [batch(student, seed) for seed in range(8)]
    for step in range(steps):
        logps = student.score(data[step % len(data)]).logps
        torch.nn.functional.softplus(0.1 * (logps[:, 1] - logps[:, 0])).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        yield step + 1


def measure(
    dtype: str, lr: float, steps: Sequence[int], folder: Path
) -> Iterator[tuple[int, float, float, float, float]]:
    """Steps, share that is left beside the weights and merged, difference of log p, and how far log p has moved."""
    settings = StudentSettings(model="nano", adapter=AdapterSettings(kind="lora"), dtype=dtype, **LIMITS)
    live = Student.load(settings).make_trainable(seed=0)
    asked = batch(live, 99)
    with torch.no_grad():
        start = live.score(asked).logps
    for step in train(live, max(steps), lr):
        if step not in steps:
            continue
        live.save(folder)
        loaded = Student.load(settings, folder)
        with torch.no_grad():
            now, made = live.score(asked).logps, changes(live)
            drift = (loaded.score(asked).logps - now).abs().max()
            kept = share(made, changes(loaded)), share(made, merged(live))
        yield step, *kept, float(drift), float((now - start).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 75, 200])
    parser.add_argument("--lrs", type=float, nargs="+", default=[5e-7, 5e-6, 2e-4])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16", "float16"])
    own = parser.parse_args()
    table = Table("dtype", "lr", "steps", "kept beside", "kept merged", "log p differs by", "log p has moved by")
    with tempfile.TemporaryDirectory() as folder:
        for dtype in own.dtypes:
            for lr in own.lrs:
                for steps, beside, inside, drift, moved in measure(dtype, lr, own.steps, Path(folder) / "student"):
                    table.add_row(
                        dtype, f"{lr:g}", str(steps), f"{beside:.3%}", f"{inside:.1%}", f"{drift:.2g}", f"{moved:.2g}"
                    )
    Console().print(table)


if __name__ == "__main__":
    main()
