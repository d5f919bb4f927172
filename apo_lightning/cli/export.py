"""``apo export``: a run's student as a folder for plain transformers, peft and vLLM."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from apo_lightning.console import Console
from apo_lightning.errors import ConfigError


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``export`` to the command line."""
    own = command(commands, "export", export, "write a run's student for transformers, peft and vLLM")
    own.add_argument("run", metavar="RUN", help="a run folder or its name; RUN/ARM may stand for RUN ARM")
    own.add_argument(
        "words", nargs="+", metavar="[ARM] FOLDER", help="the arm, where there are several, and a new folder"
    )
    own.add_argument(
        "--adapter", action="store_true", help="one LoRA adapter for the whole chain; default: merged weights"
    )
    own.add_argument(
        "--base", metavar="NAME", help="what the base model is called elsewhere, as Qwen/Qwen2.5-VL-7B-Instruct"
    )
    own.add_argument("--overwrite", action="store_true", help="replace an earlier export in FOLDER")
    own.add_argument(
        "--studies", type=int, default=8, metavar="N", help="compared with the run's student (%(default)s)"
    )
    own.add_argument("--seed", type=int, metavar="N", help="whose student (default: the run's first)")
    own.add_argument("--runs-dir", type=Path, default=Path("runs"), metavar="FOLDER", help="default: %(default)s")


def export(options: argparse.Namespace) -> None:
    """``apo export RUN[/ARM] [ARM] FOLDER [--adapter] [--base NAME] [--overwrite] [--studies N] [--seed N]``."""
    if len(options.words) > 2:
        raise ConfigError(f"export takes RUN ARM FOLDER, got {len(options.words) + 1} words.")
    from apo_lightning import using
    from apo_lightning.experiment.noise import quiet

    quiet()
    arm = options.words[0] if len(options.words) == 2 else None
    done = using.export(
        using.choose(options.run, arm, options.seed, runs_dir=options.runs_dir),
        Path(options.words[-1]),
        adapter=options.adapter,
        overwrite=options.overwrite,
        base=options.base,
        studies=options.studies,
        say=_say,
    )
    _say(done.fidelity.sentence())
    what = f"one adapter of rank {done.rank} over {done.base}" if done.form == "adapter" else "merged weights"
    _say(f"{what}: {done.folder} (README.md says how it is loaded). Not for clinical use.")


def _say(text: str) -> None:
    Console(highlight=False, soft_wrap=True).print(text, markup=False)
