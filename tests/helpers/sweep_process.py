"""A sweep in a process of its own: the small experiment of `fakes`, and trials that say when they begin and end.

    python tests/helpers/sweep_process.py NAME SECONDS

runs ``experiments/sweeps/NAME.yaml`` of the working folder; each trial adds its number to ``began.txt``, takes SECONDS,
and adds it to ``ended.txt``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.helpers.fakes import fake_registries  # noqa: E402
from tests.helpers.sweep_files import put_run, write_results  # noqa: E402


def main(name: str, seconds: str) -> int:
    def run(cfg: Any) -> None:
        number = cfg.name.rpartition("/")[2]
        note("began.txt", number)
        time.sleep(float(seconds))
        write_results(cfg)
        note("ended.txt", number)

    patched = pytest.MonkeyPatch()
    fake_registries(patched)
    put_run(patched, run)
    from apo_lightning.cli import main

    return main(["sweep", name])


def note(file: str, line: str) -> None:
    with Path(file).open("a") as out:
        out.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
