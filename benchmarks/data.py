"""Reading indexes of official size, and images per second beside torchxrayvision's loader on the same files.

    python benchmarks/data.py [--nih FOLDER]

Indexes are read in a process of their own: seconds without the imports, and peak memory. The images are
drawn, 1,024 pixels wide with grain, as NIH's are. All ways of loading them take turns in one process: what is compared
is their ratio. torchxrayvision needs torchvision, of which its loader uses one class; a stand-in takes its place.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv  # noqa: F401  (what reading a table imports is not part of its time)
from common import alternate, spread
from made_up import NIH_ROWS, mimic_index, nih_folder, nih_index

from data_modules import DATA
from data_modules.folder import FolderDataModule

SIDE = 512
"""Pixels to which images are shrunk in the second comparison."""


def index_cost(name: str, settings: dict[str, Any]) -> dict[str, float]:
    """Seconds to read the index of a set, and peak memory in MB above what the imports hold, in a fresh process."""
    call = [sys.executable, __file__, "--index", name, json.dumps(settings)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"reading the index of {name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def read_index(name: str, settings: dict[str, Any]) -> dict[str, float]:
    """What the process of ``index_cost`` does."""
    data = DATA[name](**settings)
    before, began, computed = _peak_mb(), time.perf_counter(), time.process_time()
    studies, seconds = len(data.index), time.perf_counter() - began
    own = {"studies": studies, "seconds": seconds, "cpu": time.process_time() - computed}
    return {**own, "mb": _peak_mb() - before, "whole_mb": _peak_mb()}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def torchxrayvision() -> types.ModuleType:
    """Its ``datasets``, without the models, which need torchvision.

    Raises:
        SystemExit: it is not installed.
    """
    found = importlib.util.find_spec("torchxrayvision")
    if found is None:
        raise SystemExit("torchxrayvision is not installed: make bench installs it.")
    if importlib.util.find_spec("torchvision") is None:
        stand_in = types.ModuleType("torchvision")
        stand_in.transforms = types.ModuleType("torchvision.transforms")
        sys.modules |= {"torchvision": stand_in, "torchvision.transforms": stand_in.transforms}
    package = types.ModuleType("torchxrayvision")
    package.__path__ = list(found.submodule_search_locations or [])
    sys.modules["torchxrayvision"] = package
    package.utils = importlib.import_module("torchxrayvision.utils")
    return importlib.import_module("torchxrayvision.datasets")


def loaders(root: Path, cache: Path) -> dict[str, Callable[[], Any]]:
    """Ways of loading every image of the folder once."""
    theirs = torchxrayvision()
    plain = theirs.NIH_Dataset(
        str(root / "images"), csvpath=str(root / "Data_Entry_2017_v2020.csv"), views=["PA"], unique_patients=False
    )
    resize = theirs.XRayResizer(SIDE)

    def ours(**how: Any) -> Callable[[], Any]:
        data: FolderDataModule = DATA["chestxray14"](root=str(root), **how)
        studies = [study for split in data.splits for study in data.studies(split)]
        return lambda: [data.images(study) for study in studies]

    both = {
        "torchxrayvision": lambda: [plain[i]["img"] for i in range(len(plain))],
        "cold": ours(cache=False),
        "disk": ours(cache=False, cache_dir=str(cache)),
        "memory": ours(),
        f"torchxrayvision, to {SIDE}": lambda: [resize(plain[i]["img"]) for i in range(len(plain))],
        f"cold, to {SIDE}": ours(cache=False, max_side=SIDE),
        f"disk, to {SIDE}": ours(cache=False, max_side=SIDE, cache_dir=str(cache)),
        f"memory, to {SIDE}": ours(max_side=SIDE),
    }
    for name, load in both.items():
        if not name.startswith(("torchxrayvision", "cold")):
            load()  # fills the cache
    return both


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nih", help="read the index of this folder instead of a made-up one")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--rows", type=int, default=377_110, help="images of the made-up MIMIC index")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the code")
    parser.add_argument("--index", nargs=2, metavar=("NAME", "SETTINGS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.index:
        print(json.dumps(read_index(options.index[0], json.loads(options.index[1]))))
        return
    rows, nih_rows, images = (2_000, 1_000, 6) if options.quick else (options.rows, NIH_ROWS, options.images)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        nih = {"root": options.nih or str(nih_index(folder / "nih", nih_rows))}
        for name, settings in (("chestxray14", nih), ("mimic_cxr", mimic_index(folder / "mimic", rows))):
            cost = index_cost(name, settings)
            print(
                f"index {name}: {cost['studies']:,} studies, {cost['seconds']:.2f} s ({cost['cpu']:.2f} s of CPU), "
                f"{cost['mb']:.0f} MB above the imports, {cost['whole_mb']:.0f} MB in all"
            )
        ways = loaders(nih_folder(folder / "images", images), folder / "cache")
        seconds = {name: spread(times) for name, times in alternate(ways, options.repeats).items()}
    rates = {name: images / times["median_s"] for name, times in seconds.items()}
    for name, rate in rates.items():
        against = rates[f"torchxrayvision, to {SIDE}" if name.endswith(str(SIDE)) else "torchxrayvision"]
        print(f"{name:28s} {rate:10.1f} images/s  {rate / against:8.2f}x")


if __name__ == "__main__":
    main()
