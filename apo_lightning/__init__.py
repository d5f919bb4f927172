"""apo-lightning: distil one vision-language student from several drifting teachers (arXiv 2510.04142)."""

import os

__version__ = "0.10.0"

# Before torch is loaded: its OpenMP threads spin while they wait for each other, and on a crowded machine two spinning
# threads took six to twelve times as long as two that sleep (LOG.md, benchmarks/threads.py). A user's choice stands.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
    os.environ["OMP_WAIT_POLICY"] = "passive"
