"""Token log-probs over a large vocabulary: a plain pass with all logits beside ours in chunks.

Time is that of scoring and backward, both in one process, in turns, on the same inputs, at a number of tokens whose
logits fit; the median counts. Memory is the highest resident size of a fresh process per row, less the same after the
inputs and tensors as large as their gradients were filled (the gradients' place is given back before the pass).
Linux only.
"""

from __future__ import annotations

import argparse
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from apo_lightning.functional.divergence import divergence_rows
from apo_lightning.functional.teacher_logits import head_logits
from apo_lightning.functional.vocabulary import head_rows, head_token_logps

SEED = 0
HEADS = ("frozen", "trained")
Inputs = tuple[Tensor, Tensor, Tensor]


def plain(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return -F.cross_entropy(F.linear(hidden, weight), targets, reduction="none")


def jensen_shannon(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The divergence that holds most, to a teacher given by states and head (here the student's own)."""
    return head_rows(hidden, weight, divergence_rows(head_logits(hidden, weight), "jensen_shannon"))


Way = Callable[[Tensor, Tensor, Tensor], Tensor]
TIMED: dict[str, Way] = {"plain": plain, "chunked": head_token_logps}
WAYS: dict[str, Way] = {**TIMED, "jensen_shannon": jensen_shannon}


def inputs(tokens: int, hidden: int, vocabulary: int, head: str) -> Inputs:
    """Hidden states, head and targets; weights as small as those of a trained head."""
    torch.manual_seed(SEED)
    states = torch.randn(tokens, hidden).requires_grad_()
    weight = torch.randn(vocabulary, hidden).mul_(0.02).requires_grad_(head == "trained")
    return states, weight, torch.randint(vocabulary, (tokens,))


def step(way: str, given: Inputs) -> float:
    """Seconds of one scoring and backward; the gradients are dropped."""
    began = time.perf_counter()
    torch.autograd.grad(WAYS[way](*given).sum(), [tensor for tensor in given if tensor.requires_grad])
    return time.perf_counter() - began


def seconds(given: Inputs, repeats: int) -> dict[str, float]:
    """Median seconds of each way, in turns, after one round that does not count."""
    rounds = [{way: step(way, given) for way in TIMED} for _ in range(repeats + 1)][1:]
    return {way: median(found[way] for found in rounds) for way in TIMED}


def peak_mb() -> float:
    """Highest resident size of this program so far. Not ``ru_maxrss``: that one starts at the parent's size."""
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / 1e6


def extra_mb(way: str, sizes: list[int], head: str) -> float:
    """Extra peak memory of one step in this process, over inputs and gradients."""
    step(way, inputs(8, 8, 8, head))
    given = inputs(*sizes, head)
    places = [torch.ones_like(tensor) for tensor in given if tensor.requires_grad]
    before = peak_mb()
    del places
    step(way, given)
    return peak_mb() - before


def extra_mb_apart(way: str, sizes: list[int], head: str, threads: int) -> float:
    """`extra_mb` of a fresh process."""
    words = [sys.executable, __file__, "--threads", str(threads), "--alone", way, head, *map(str, sizes)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def show(options: argparse.Namespace) -> None:
    console = Console()
    console.print(
        f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}, float32, seed {SEED}, "
        f"hidden {options.hidden}, vocabulary {options.vocab:,}"
    )
    times = Table("head", "tokens", "plain, s", "chunked, s", "chunked / plain", title="scoring and backward")
    memory = Table("head", "tokens", "way", "extra peak, MB", title="memory over inputs and their gradients")
    for head in HEADS:
        found = seconds(inputs(options.timed, options.hidden, options.vocab, head), options.repeats)
        ratio = found["chunked"] / found["plain"]
        times.add_row(head, f"{options.timed:,}", f"{found['plain']:.2f}", f"{found['chunked']:.2f}", f"{ratio:.2f}")
        chunked = ["chunked", "jensen_shannon"] if head == "frozen" else ["chunked"]
        rows = [("plain", options.timed)] + [(way, n * options.tokens) for way in chunked for n in (1, 2)]
        for way, tokens in rows:
            extra = extra_mb_apart(way, [tokens, options.hidden, options.vocab], head, options.threads)
            memory.add_row(head, f"{tokens:,}", way, f"{extra:,.0f}")
    console.print(times, memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192, help="scored tokens of the memory rows, then twice as many")
    parser.add_argument("--timed", type=int, default=1024, help="tokens of the comparison in time")
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--vocab", type=int, default=151_936)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--alone", nargs=5, metavar=("WAY", "HEAD", "TOKENS", "HIDDEN", "VOCAB"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.alone:
        way, head, *sizes = options.alone
        print(extra_mb(way, [int(size) for size in sizes], head))
    else:
        show(options)


if __name__ == "__main__":
    main()
