"""One training step on one study with 1 + N answers: time and memory beside separate sequences, TRL, and the floor.

`contenders` says who runs and how. Times are medians over rounds in which every contender takes its turn in one
process. Memory is how far one step raises the resident memory of a fresh process that holds model and data.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import Setup, alternate, child_peak, options, peak_mb, processor, spread, to_batch
from contenders import MODES, OURS, TRL, BesideTRL, Ours, contender
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

Row = dict[str, Any]


def gradient(model: nn.Module) -> Tensor:
    """All gradients in one line; they are removed from the model."""
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad(set_to_none=True)
    return found


def agree(ours: Ours) -> None:
    """Raise where a mode's log-probs or gradients are not those of separate sequences. It warms all of them up."""
    ours.fill()
    wanted = ours.step("separate")
    grad_wrt_logps = gradient(ours.model)
    for name in MODES:
        off = (ours.step(name) - wanted).abs().max() / ours.setup.answer
        turn = (gradient(ours.model) - grad_wrt_logps).norm() / grad_wrt_logps.norm()
        if off > 1e-4 or turn > 1e-3:
            raise RuntimeError(f"{name} is off: {off:.1e} nats per token, gradient {turn:.1e}")


def agree_with_trl(trl: BesideTRL, logps: Tensor) -> None:
    """Raise where TRL's log-probs of the first pair are not ours ``[1, U]``: it would see other texts or images."""
    off = (trl.pair(0) - logps[0, :2]).abs().max() / trl.setup.answer
    if off > 1e-4:
        raise RuntimeError(f"TRL's log-probabilities differ by {off:.1e} nats per token")


def times(setup: Setup, names: Sequence[str], repeats: int) -> dict[str, Row]:
    """Seconds of every contender, by name."""
    ours = Ours(setup)
    agree(ours)
    rivals = {name: contender(name, setup) for name in names if name in TRL}
    for rival in rivals.values():
        agree_with_trl(rival, ours.reference)
    seconds = alternate({name: partial(rivals.get(name, ours).step, name) for name in names}, repeats)
    if "floor" in seconds:
        seconds["floor"] = [one * ours.tokens_over_plain() for one in seconds["floor"]]
    return {name: spread(values) for name, values in seconds.items()}


def peak_of(name: str, setup: Setup) -> float:
    """Peak of one step in this process, after a small pass that loads what any first pass loads and makes gradients."""
    one = contender(name, setup)
    ids = to_batch(replace(setup, prompt=48, answer=16, negatives=1), processor()).branch_ids[0]
    one.model(input_ids=ids).logits.logsumexp(-1).sum().backward()
    return peak_mb(lambda: one.step(name))


def measure(setup: Setup, names: Sequence[str], weighed: Sequence[str], args: argparse.Namespace) -> dict[str, Row]:
    """Times of all contenders, peaks of those in ``weighed``. The floor is a rate, not a step, and has no peak."""
    found = times(setup, names, args.repeats)
    for name in names:
        known = name in weighed and name != "floor"
        found[name]["peak_mb"] = weigh(name, setup, args) if known else None
    return found


def weigh(name: str, setup: Setup, args: argparse.Namespace) -> float:
    return child_peak(name, setup, args.threads, plain_malloc=args.plain_malloc)


def flatness(setup: Setup, args: argparse.Namespace) -> dict[int, float]:
    """Peak of branchwise, one answer at a time, over N."""
    return {n: weigh("branchwise_1", replace(setup, negatives=n), args) for n in (3, 7, 15)}


def ratios(found: Mapping[str, Row]) -> list[tuple[str, float]]:
    """How many times faster, and how much of the other's memory."""
    pairs = [("separate", name) for name in MODES] + [(trl, name) for trl in TRL for name in ("joint", "branchwise_1")]
    pairs = [(a, b) for a, b in pairs if a in found and b in found]
    rows = [(f"time of {a} / {b}", found[a]["median_s"] / found[b]["median_s"]) for a, b in pairs]
    rows += [
        (f"time of {n} / floor", found[n]["median_s"] / found["floor"]["median_s"])
        for n in MODES
        if n in found and "floor" in found
    ]
    rows += [
        (f"peak of {b} / {a}", found[b]["peak_mb"] / found[a]["peak_mb"])
        for a, b in pairs
        if found[a]["peak_mb"] and found[b]["peak_mb"]
    ]
    return rows


def show(setup: Setup, found: Mapping[str, Row], flat: Mapping[int, float]) -> None:
    console = Console()
    table = Table(title=f"prompt {setup.prompt}, answers {setup.answer}, 1 + {setup.negatives}")
    for title in ("contender", "median s", "fastest", "slowest", "peak MB"):
        table.add_column(title, justify="left" if title == "contender" else "right")
    for name, row in found.items():
        peak = "" if row["peak_mb"] is None else f"{row['peak_mb']:,.0f}"
        table.add_row(name, *(f"{row[key]:.2f}" for key in ("median_s", "min_s", "max_s")), peak)
    console.print(table)
    for what, value in ratios(found):
        console.print(f"  {what}: {value:.2f}")
    if flat:
        console.print("  peak MB of branchwise_1: " + ", ".join(f"N={n} {mb:,.0f}" for n, mb in flat.items()))


def machine(threads: int) -> Row:
    """What a reader needs to compare: versions and threads."""
    packages = ("torch", "transformers", "peft", "trl")
    versions = {name: importlib.metadata.version(name) for name in packages if _installed(name)}
    return dict(python=platform.python_version(), cpus=os.cpu_count(), threads=threads, **versions)


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def write(folder: Path, rows: Sequence[Row], record: Row) -> None:
    """``apo_step.csv``, one row a contender and prompt, and ``apo_step.json`` with settings and versions."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "apo_step.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "apo_step.json").write_text(json.dumps(record | {"rows": rows}, indent=2))


def arguments() -> argparse.Namespace:
    parser = options(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    parser.add_argument("--prompts", type=int, nargs="+", default=[450, 1400], help="prompt lengths, image included")
    parser.add_argument("--negatives", type=int, default=7, help="N")
    parser.add_argument("--contenders", nargs="+", choices=[*OURS, *TRL], default=[*OURS, *TRL])
    parser.add_argument("--skip-trl", action="store_true")
    parser.add_argument("--plain-malloc", action="store_true", help="peaks include what glibc keeps of freed memory")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    parser.add_argument("--setup", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    if args.peak_of:
        print(peak_of(args.peak_of, Setup(**args.setup)))
        return
    names = [name for name in args.contenders if name not in TRL or not args.skip_trl]
    sizes = (args.answers, args.negatives, args.full, args.vocabulary, args.mlp)
    setups = [Setup(prompt, *sizes) for prompt in args.prompts]
    if args.quick:
        setups = [Setup(48, 20, 3, args.full, vocabulary=1024, tiny=True)]
    rows: list[Row] = []
    for setup in setups:
        weighed = names[:1] + names[-1:] if args.quick else names  # a fresh process takes ten seconds to start
        found = measure(setup, names, weighed, args)
        flat = flatness(setup, args) if "branchwise_1" in weighed else {}
        show(setup, found, flat)
        rows += [dict(prompt=setup.prompt, contender=name, **row) for name, row in found.items()]
        rows += [dict(prompt=setup.prompt, contender=f"branchwise_1 N={n}", peak_mb=mb) for n, mb in flat.items()]
        write(
            args.out,
            rows,
            dict(machine=machine(args.threads), plain_malloc=args.plain_malloc, setups=[asdict(one) for one in setups]),
        )


if __name__ == "__main__":
    main()
