"""How loading processes start.

Not by ``fork``: by the time a loader starts, this process has threads (W&B's service, OpenMP, Lightning's), and a fork
copies their locks in whatever state they are, but not the threads that would release them. A worker that then imports
MONAI, logs, or computes may wait for ever. Not by ``spawn`` either: each worker would import torch and MONAI anew, for
seconds each, at every fit and every prediction.

``forkserver`` has neither fault: one clean process without threads of ours is started once, imports what all workers
need, and every worker is a fork of that. What it costs: the server starts once (seconds), and data set and collator
are pickled for every worker, which studies by the hundred thousand make felt (seconds for 300,000).
"""

from __future__ import annotations

import multiprocessing
import re
import traceback
from multiprocessing import forkserver
from typing import Any

from apo_lightning import signals

PRELOADED = (
    "torch",
    "numpy",
    "PIL.Image",
    "pandas",
    "lightning.pytorch",
    "monai.data",
    "monai.transforms",
    "pydicom.pixels",
    "transformers.models.auto.processing_auto",
    "rich.progress",
    "omegaconf",
    "defusedxml.ElementTree",
)
"""Imported once by the server. None of this project: the server does not know where this process found it."""

LOST = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([\w ]+)|exited unexpectedly)"
)
"""How torch says that a worker is gone."""


def lost(error: BaseException, count: int) -> str | None:
    """A sentence on a process that loads images and is gone, killed or ended by what it read; None for other errors.

    Args:
        error: what the loader raised.
        count: as many processes load.
    """
    found = LOST.search(str(error)) if isinstance(error, RuntimeError) else None
    if found is None and not _of_handing_over(error):
        return None
    who = f" (pid {found[1]})" if found else ""
    how = f"was ended by a signal ({found[2].strip()})" if found and found[2] else "ended without a word"
    return (
        f"a process that loads images{who} {how}. A system short of memory, or of room in /dev/shm, "
        f"does that; its log says so. Lower data.num_workers ({count}) or give it more memory; where an image ends its "
        "reader, data.num_workers=0 shows at which. What was finished is kept, and the same command continues where it "
        "stopped."
    )


def _of_handing_over(error: BaseException) -> bool:
    """Whether a tensor was to be taken from a process that is gone, which is seen before torch looks for it."""
    if not isinstance(error, ConnectionError | EOFError | FileNotFoundError):
        return False
    return any("torch/multiprocessing/" in frame.filename for frame in traceback.extract_tb(error.__traceback__))


def loading(count: int) -> dict[str, Any]:
    """Arguments of a ``DataLoader`` with so many workers."""
    if count == 0:
        return {"num_workers": 0}
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return {"num_workers": count, "multiprocessing_context": "spawn"}
    multiprocessing.set_forkserver_preload(list(PRELOADED))  # heard until the server runs
    with signals.unheard():
        forkserver.ensure_running()
    return {"num_workers": count, "multiprocessing_context": "forkserver"}
