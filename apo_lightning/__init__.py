"""apo-lightning: distil one vision-language student from several drifting teachers (arXiv 2510.04142)."""

import os

__version__ = "0.10.0"

# Before torch is loaded, whose OpenMP threads wait for each other thousands of times a step. Asleep at once, two were
# slower than one on a quiet virtual machine; spinning on, as the library has it, they took three times as long as these
# on a crowded one. So they look 1,000 times, and then sleep (LOG.md, benchmarks/threads.py). A user's choice stands.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
    os.environ |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}  # the second is libgomp's, and goes first
