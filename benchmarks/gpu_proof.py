"""One proof on one GPU of 80 GB, in eight minutes: what a preference step at 7B costs, and that all ways to it agree.

A Qwen2.5-VL of 7B with random weights, made on the GPU, in bfloat16 with LoRA of rank 8; one study of 1 + 7 answers of
300 tokens. Sections run in the order of `SECTIONS`; each is written to the JSON file as it goes, and one that fails or
for which there is no time left has the reason in its place.

    python benchmarks/gpu_proof.py [--minutes 8] [--out build/gpu_proof.json] [--sections table_1400 equality ...]
    python benchmarks/gpu_proof.py --tiny        # the same code on a small network, on a CPU too, to try it
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apo_lightning  # noqa: F401  # before torch, whose waiting threads it lets sleep

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
BEGAN = time.monotonic()
PACKAGES = ("torch", "transformers", "peft", "trl", "lightning", "bitsandbytes", "accelerate", "triton")
Row = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """A part of the proof.

    Attributes:
        name: by which it is asked for.
        work: ``module:function``, loaded when its turn comes, so that a package that is missing stops it alone.
        need: seconds that must be left for it to begin.
        limit: seconds that it may take.
        arguments: for the function, behind bench and add.
    """

    name: str
    work: str
    need: float
    limit: float
    arguments: tuple[Any, ...] = ()

    def load(self) -> Callable[..., None]:
        module, function = self.work.split(":")
        return getattr(importlib.import_module(module), function)


def sections(prompts: Sequence[int]) -> list[Section]:
    """All of them, the most telling first; what compiles, and may take any time, last."""
    first, *others = [Section(f"table_{p}", "gpu_table:table", 25, 170, (p,)) for p in prompts]
    return [
        first,
        Section("equality", "gpu_sections:equality", 15, 60),
        Section("rate", "gpu_sections:rate", 15, 45),
        *others,
        Section("trainer", "gpu_trainer:fits", 25, 90),
        Section("qlora", "gpu_sections:qlora", 20, 60),
        Section("generation", "gpu_sections:generating", 20, 60),
        Section("overheads", "gpu_trainer:overheads", 15, 40),
        Section("pipeline", "gpu_trainer:pipeline", 30, 100),
        Section("compiled", "gpu_sections:compiled", 40, 90),
        Section("compiled_generation", "gpu_sections:compiled_generation", 45, 150),
    ]


@dataclass
class Record:
    """What was found so far, in memory and on disk.

    Attributes:
        out: JSON file, written whole after every row.
    """

    out: Path
    about: Row
    found: dict[str, Row] = field(default_factory=dict)

    def write(self) -> None:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.out.with_suffix(".part")
        scratch.write_text(json.dumps({**self.about, "sections": self.found}, indent=1))
        scratch.replace(self.out)

    def adder(self, name: str) -> Callable[..., None]:
        """What a section calls with the keywords of a row."""
        rows: list[Row] = []
        self.found[name] = {"state": "begun", "rows": rows}

        def add(**row: Any) -> None:
            rows.append(row)
            self.write()
            print("  " + ", ".join(f"{key} {shown(value)}" for key, value in row.items()), flush=True)

        return add

    def end(self, name: str, state: str, began: float, why: str = "") -> None:
        row = self.found.setdefault(name, {"rows": []})
        row |= {"state": state, "seconds": round(time.monotonic() - began, 1)} | ({"why": why} if why else {})
        self.write()
        print(f"  {name}: {state}{why and f' ({why})'}, {row['seconds']} s", flush=True)


def prove(bench: Any, asked: Iterable[Section], record: Record) -> None:
    """Run sections one after the other. Whatever happens in one is written, and the next begins."""
    from gpu_parts import NotHere, OutOfTime, at_most
    from gpu_table import reason

    for section in asked:
        began, left = time.monotonic(), bench.left()
        print(f"== {section.name} ({left:.0f} s left)", flush=True)
        if left < section.need:
            record.end(section.name, "skipped", began, f"{left:.0f} s left, and it needs {section.need:.0f}")
            continue
        add = record.adder(section.name)
        try:
            with at_most(min(section.limit, left)):
                section.load()(bench, add, *section.arguments)
            record.end(section.name, "done", began)
        except OutOfTime as error:
            record.end(section.name, "out of time", began, str(error))
        except NotHere as error:
            record.end(section.name, "skipped", began, str(error))
        except Exception as error:  # whatever it is, the other sections are still worth having
            traceback.print_exc(limit=-6)
            record.end(section.name, "failed", began, reason(error))
        bench.meter.free()


def shown(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 and value != int(value) else f"{value:,.0f}"
    return "" if value is None else str(value)


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with a column for every key that some row has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([shown(row.get(name)) for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)


def summary(record: Record) -> str:
    """Everything that was found, as markdown, the table of contenders with its ratios first."""
    from gpu_table import ratios

    parts = ["# GPU proof", ", ".join(f"{key} {shown(value)}" for key, value in record.about["machine"].items())]
    for name, section in record.found.items():
        note = f": {section['why']}" if section.get("why") else ""
        parts.append(f"## {name} ({section['state']}{note})")
        if section["rows"]:
            parts.append(markdown(section["rows"]))
        if name.startswith("table_"):
            parts.append(", ".join(f"{key} {shown(value)}" for key, value in ratios(section["rows"]).items()))
    return "\n\n".join(parts)


def machine(device: Any) -> Row:
    """What a reader needs to compare."""
    import torch

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    gpu = {"device": "CPU", "gb": None}
    if device.type == "cuda":
        seen = torch.cuda.get_device_properties(device)
        gpu = {"device": seen.name, "gb": round(seen.total_memory / 1e9, 1)}
    return {**gpu, "python": platform.python_version(), "cpus": os.cpu_count(), **versions}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="after which nothing begins any more")
    parser.add_argument(
        "--out", type=Path, default=Path("build/gpu_proof.json"), help="the tables lie beside it as .md"
    )
    parser.add_argument("--tiny", action="store_true", help="a small network, on whatever device there is")
    parser.add_argument("--sections", nargs="+", help="these alone")
    parser.add_argument("--contenders", nargs="+", default=(), help="of the tables, these alone")
    parser.add_argument("--prompts", type=int, nargs="+", help="prompt lengths (1400 450)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def chosen(names: Sequence[str] | None, every: Sequence[Section]) -> list[Section]:
    """The sections asked for, in the proof's order.

    Raises:
        SystemExit: a name is none of a section.
    """
    known = [section.name for section in every]
    if unknown := sorted(set(names or ()) - set(known)):
        sys.exit(f"--sections {' '.join(unknown)}: there is none of that name. There are: {', '.join(known)}.")
    return [section for section in every if names is None or section.name in names]


def main() -> None:
    args = arguments()
    import torch

    if not args.tiny and not torch.cuda.is_available():
        sys.exit("There is no GPU here, and the proof takes one of 80 GB. --tiny tries its code on a CPU.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    prompts = tuple(args.prompts or ((64, 48) if args.tiny else (1400, 450)))
    asked = chosen(args.sections, sections(prompts))
    settings = dict(seed=args.seed, tiny=args.tiny, prompts=prompts, repeats=args.repeats, minutes=args.minutes)
    record = Record(args.out, {"machine": machine(device), "settings": settings})
    record.write()
    from gpu_parts import Bench

    end = BEGAN + 60 * args.minutes
    bench = Bench(
        device, args.tiny, args.seed, args.repeats, prompts, lambda: end - time.monotonic(), tuple(args.contenders)
    )
    print(f"making the network: {bench.meter.seconds(lambda: bench.base):.1f} s, {shown(bench.meter.held())} GB")
    prove(bench, asked, record)
    text = summary(record)
    args.out.with_suffix(".md").write_text(text + "\n")
    print(text)
    if failed := [name for name, section in record.found.items() if section["state"] == "failed"]:
        sys.exit(f"failed: {', '.join(failed)}. The rest is in {args.out}.")


if __name__ == "__main__":
    main()
