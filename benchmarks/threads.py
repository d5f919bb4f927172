"""Threads of matrix products on a quiet machine and on one where other processes run: how many, and how they wait.

Each way is a process of its own that trains the nano student (four studies with seven texts each) for a few steps
after a warm-up; ways take turns, rounds are repeated, and the median seconds a step are printed. ``--busy N`` runs N
processes beside it that do nothing but compute.

    python benchmarks/threads.py [--steps 5] [--rounds 3] [--busy 0 1]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

WAYS = {
    "1": {"OMP_NUM_THREADS": "1"},
    "all, spinning (the library's default)": {"KMP_BLOCKTIME": "200"},  # says nothing to libgomp, and keeps ours out
    "all, asleep": {"OMP_WAIT_POLICY": "passive"},
    "all, a short look, then asleep (ours)": {},
}
OURS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MKL_NUM_THREADS", "KMP_BLOCKTIME")

WORK = """
import json, sys, time
import torch
from apo_lightning.batching.collate import Collator
from apo_lightning.phantom.drawing import draw
from apo_lightning.phantom.wording import ground_truth
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.settings import AdapterSettings, StudentSettings
from apo_lightning.models.student import Student
from apo_lightning.types import Branch, Example, Study

limits = dict(max_prompt_tokens=96, max_branch_tokens=160, max_context_tokens=1200)
student = Student.load(StudentSettings(model="nano", adapter=AdapterSettings(), **limits)).make_trainable(0)
collate = Collator(student.processor, prompt="diagnose", findings=FINDINGS, **limits)
found = cases(0, 11)
def item(i):
    case = found[i]
    texts = tuple(Branch(f"t{k}", ground_truth(found[i + k].present)) for k in range(7))
    return Example(Study(case.id, str(case.patient), "train", (), {}), texts), [draw(case, 112)]
items = [item(i) for i in range(4)]
trained = [p for p in student.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4)
taken = []
for step in range(int(sys.argv[1]) + 2):
    began = time.perf_counter()
    student.score(collate(items)).logps.mean().neg().backward()
    optimizer.step()
    optimizer.zero_grad()
    taken.append(time.perf_counter() - began)
print(json.dumps(taken[2:]))
"""


@contextmanager
def busy(count: int) -> Iterator[None]:
    """``count`` other processes that compute."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(10**6))"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def seconds(way: dict[str, str], steps: int) -> list[float]:
    """Seconds of each step in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key not in OURS} | way
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(steps)], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1])
    own = parser.parse_args()
    table = Table("threads", *(f"s per step beside {n} busy processes" for n in own.busy))
    taken: dict[tuple[str, int], list[float]] = {}
    for count in own.busy:
        with busy(count):
            for _ in range(own.rounds):
                for name, way in WAYS.items():
                    taken.setdefault((name, count), []).extend(seconds(way, own.steps))
    for name in WAYS:
        table.add_row(name, *(f"{statistics.median(taken[name, n]):.3f}" for n in own.busy))
    Console().print(table)


if __name__ == "__main__":
    main()
