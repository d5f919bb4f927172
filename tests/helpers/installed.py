"""The package as people get it: built without a network, and installed into a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from conftest import ROOT

BUILT_FROM = ("apo_lightning", "data_modules", "callbacks", "experiments")
SETTINGS = ("setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")


def copied(target: Path) -> Path:
    """What a wheel is built from, in ``target``: a build leaves files in its folder, and takes what it finds there."""
    for name in BUILT_FROM:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in SETTINGS:
        shutil.copy(ROOT / name, target / name)
    return target


def built(kind: str, source: Path, target: Path) -> Path:
    """``sdist`` or ``wheel`` of the project in ``source``, as a front end of pip asks for it."""
    code = f"import setuptools.build_meta as b; b.build_{kind}({str(target)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (made,) = target.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return made


def unpacked(archive: Path, target: Path) -> Path:
    """The folder that lies in an sdist."""
    with tarfile.open(archive) as held:
        held.extractall(target, filter="data")
    (folder,) = target.iterdir()
    return folder


def installed(wheel: Path, target: Path) -> Path:
    """``wheel`` in ``target``, without what it depends on."""
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-index", "--no-deps", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True)
    return target


def python(site: Path, *words: str, cwd: Path | None = None) -> str:
    """What a new Python prints that imports the project from ``site`` alone, in the working folder or ``cwd``."""
    own = os.environ | {"PYTHONPATH": str(site), "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-P", *words], env=own, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
