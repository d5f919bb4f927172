"""Packages and weights of others: whether they are on this disk. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

HUB = "StanfordAIMI/RRG_scorers"
"""Where the packages chexbert and radgraph have their weights from."""
ASKED = "evaluate.report_text.also names"


def lacking(metric: str, package: str, needed: dict[str, Path | None], asked: str = ASKED) -> str:
    """Empty where ``package`` and all files are there; else one sentence.

    Args:
        metric: its name in ``evaluate.report_text.also``.
        package: what is imported; its name on PyPI in lower case.
        needed: what a file is to its path, None where it was not found.
        asked: where the metric was named.
    """
    if importlib.util.find_spec(package) is None:
        what = f"the package {package} is not installed (pip install {package.lower()})"
    elif lost := next((name for name, path in needed.items() if path is None), ""):
        what = f"{lost} is not on this disk; use {package} once where there is a network"
    else:
        return ""
    return f"{asked} '{metric}', and {what}. Or leave '{metric}' out."


def cached(repository: str, file: str, *folders: str) -> Path | None:
    """A file of the Hugging Face cache, or of the folders below the user's cache that packages keep of their own."""
    from huggingface_hub import try_to_load_from_cache

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for place in (None, *(home / folder for folder in folders)):
        found = try_to_load_from_cache(repository, file, cache_dir=place)
        if isinstance(found, str):
            return Path(found)
    return next((path for folder in folders for path in sorted((home / folder).glob(f"**/{file}"))), None)
