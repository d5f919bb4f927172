"""Commands given hostile files, each in a process of its own that has its imports behind it.

Run as a program it reads cases as JSON lines, ``[name, folder, words]``, forks once a case into ``folder``, calls the
command line with ``words``, and prints ``[name, answer]``: exit status, what was said, seconds of processor, and bytes
by which the peak of memory rose.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ROOM = 500_000_000
"""Bytes that a command may take for a refusal."""
SECONDS = 2.0
"""And of processor, beside its imports."""
CRASH = 97
"""Exit status of a command that ended in an exception nobody foresaw."""
Case = tuple[str, str, list[str]]


def answers(cases: Sequence[Case]) -> dict[str, dict[str, Any]]:
    """What each command said, by name of the case; none of them may take more than twice ``ROOM`` or four times
    ``SECONDS``."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.hostile"],
        input="".join(json.dumps(one) + "\n" for one in cases),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
    )
    found = dict(json.loads(line) for line in done.stdout.splitlines())
    assert len(found) == len(cases), done.stderr[-2000:]
    return found


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _call(words: Sequence[str], out: int) -> int:
    """In the child: one command, its output into ``out``."""
    from apo_lightning.cli import main

    space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (space + 2 * ROOM, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(4 * SECONDS), int(4 * SECONDS)))
    for stream in (1, 2):
        os.dup2(out, stream)
    sys.argv[1:] = words
    try:
        return main(list(words))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return CRASH


def _fork(folder: str, words: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as began:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            os.write(began.fileno(), str(_resident()).encode())
            os.chdir(folder)
            status = _call(words, out.fileno())
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        _, ended, used = os.wait4(child, 0)
        out.seek(0)
        began.seek(0)
        said, start = out.read().decode("utf-8", "replace"), int(began.read())
    status = -os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else os.WEXITSTATUS(ended)
    return {"status": status, "said": said, "seconds": used.ru_utime, "peak": 1024 * used.ru_maxrss - start}


def _preload() -> None:
    """What commands import by themselves, so that none of it counts as theirs."""
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    for name in (
        "apo_lightning.cli", "apo_lightning.config", "apo_lightning.experiment.run", "apo_lightning.experiment.checks",
        "apo_lightning.experiment.sweeps", "apo_lightning.reports", "apo_lightning.reports.reader_audit",
        "apo_lightning.using", "apo_lightning.using.exporting", "apo_lightning.own_texts", "apo_lightning.starter",
        "apo_lightning.experiment.drift_sources", "apo_lightning.experiment.drift_files", "data_modules.summary",
        "apo_lightning.reports.data_summary", "apo_lightning.collecting.collect", "transformers", "pydicom",
        "apo_lightning.models.student", "apo_lightning.trajectories.importers", "pyarrow.parquet", "monai.transforms",
    ):  # fmt: skip
        importlib.import_module(name)


def _main() -> None:
    cases = [json.loads(line) for line in sys.stdin]
    _preload()
    for name, folder, words in cases:
        print(json.dumps([name, _fork(folder, words)]), flush=True)


if __name__ == "__main__":
    _main()
