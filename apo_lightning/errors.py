"""Errors at the edges. Wording: what is wrong with its value, where, what is allowed, what to do."""

from __future__ import annotations

import difflib
import pickle
import re
from collections.abc import Iterable

SHOWN, LONGEST = 60, 60
"""Names that a message lists, and characters of one."""


class ApoError(Exception):
    """Base of every error a user is meant to read; the command line prints it without a traceback."""


class ConfigError(ApoError):
    """A setting is unknown, has the wrong type, or is out of range."""


class DataError(ApoError):
    """A file of a data set or of teacher trajectories is missing, malformed or contradicts itself."""


class AbsentError(DataError):
    """A data set is not on disk: its folder is not there, or holds no index of it. One that is there and broken is any
    other DataError."""


class ArtifactError(ApoError):
    """Something in a run folder is missing, corrupt, or was made by another configuration."""


class DivergedError(ApoError):
    """Training came to values that are no finite numbers."""


class ServerError(ApoError):
    """A server that writes for the student cannot, or answers otherwise than the student would."""


class StoppedError(ApoError):
    """A callback that was asked to end a stage which fails has done so."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Sentence that offers the nearest known name and lists all of them, or so many that a message stays readable.

    >>> did_you_mean("betta", ["beta", "lr"])
    "Did you mean 'beta'? Known: beta, lr."
    """
    names = sorted(known)
    hint = f"{near} " if (near := nearest(word, names)) else ""
    shown = [name if len(name) <= LONGEST else f"{name[:LONGEST]}..." for name in names[:SHOWN]]
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{hint}Known: {', '.join(shown) or 'none'}{more}."


def nearest(word: str, known: Iterable[str]) -> str:
    """Sentence that offers the nearest known name; empty where none is near.

    >>> nearest("branchwize", ["joint", "branchwise"]), nearest("x", ["joint"])
    ("Did you mean 'branchwise'?", '')
    """
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"Did you mean '{close[0]}'?" if close else ""


def first_line(error: BaseException) -> str:
    """What an error of another library says, in one line.

    Of a pickle that torch refuses its own words would be advice to load it nevertheless.
    """
    if isinstance(error, pickle.UnpicklingError) and "weights_only" in str(error):
        named = re.search(r"\bGLOBAL (\S+)", str(error))
        return f"it holds something else than tensors and plain values{f', {named[1]}' if named else ''}: not loaded"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")
