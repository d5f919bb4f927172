"""What a finished stage, or a run folder, consists of, so that what was damaged later is found before it is read.

The manifest lists every file with its size and SHA-256, and seals itself with a hash of its own. Whoever reads one file
asks `difference`; whoever builds on a whole stage asks `check`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from apo_lightning.errors import ArtifactError
from apo_lightning.files.atomic import removal
from apo_lightning.files.jsonlines import plain
from apo_lightning.hashing.contents import content_digest, digest, remembered

log = logging.getLogger(__name__)

MANIFEST, SEAL = "manifest.json", "manifest_sha256"
LARGE = 64 << 20
"""Bytes from which on a file's hash is remembered beside the stages, and it is read again only when it has changed."""
UNLISTED = (MANIFEST, "config.yaml", "wandb")
"""Written later or by others, or read only by people."""
LOOSE = ("metrics.jsonl",)
"""Read by figures alone, which look at what it says: where it is gone, a curve is, and nothing is trained again."""
STORED = re.compile(r".+-([0-9a-f]{12})")
"""Name of a stage's folder, with the beginning of the hash of its inputs."""
UNIMPORTANT = frozenset({"seeds", "only", "wandb", "runs_dir", "cache", "acknowledge", "acknowledge_sending"})
"""Top-level settings that may differ between runs into one folder: they change what is shown, not its values."""
ASIDE = (*LOOSE, "failures.json", "throughput.jsonl", "samples_step.jsonl", "student/README.txt")
"""What callbacks write beside the result of a stage, and what is for people to read: nothing is trained again where it
is gone or was edited."""
OUTPUTS = (
    "student",
    "trajectories.jsonl",
    "weights.jsonl",
    "preferred.jsonl",
    "negatives.jsonl",
    "predictions.jsonl",
    "likelihoods.jsonl",
    "scores.json",
    "statements.jsonl",
    "in_place.jsonl",
    "samples.jsonl",
    "flips.jsonl",
)
"""What stages read of each other: where one of these lies there and is not listed, somebody put it there."""


def take(folder: Path, leave_out: tuple[str, ...] = (), only: Iterable[Path] | None = None) -> dict[str, Any]:
    """Size and SHA-256 of every file by its path in ``folder``; with ``only``, of those."""
    files = _files(folder, leave_out) if only is None else (path for path in only if path.is_file())
    return {str(path.relative_to(folder)): _facts(path, folder) for path in files}


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """``record`` as it is written, with the hash by which `read` knows that it is whole."""
    written = json.loads(json.dumps(plain(record), default=str))
    return {**written, SEAL: digest(written)}


def settings_digest(config: Mapping[str, Any]) -> str:
    """Hash of the settings on which the values in a run folder depend."""
    return digest({str(name): value for name, value in config.items() if name not in UNIMPORTANT})


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a stage or a run.

    Raises:
        ArtifactError: it is missing or damaged, or not what was written.
    """
    path = folder / MANIFEST
    try:
        record = json.loads(path.read_bytes())
        what = _fault(record) if isinstance(record, dict) else "no JSON object"
    except (OSError, ValueError, RecursionError) as error:
        record, what = {}, str(getattr(error, "strerror", None) or error)
    if what:
        run = isinstance(record, dict) and "experiment" in record
        broken = path if run else folder  # what a run folder has beside it is made again from its stages
        raise ArtifactError(f"{path} is damaged ({what}). Remove {broken} and run again: {removal(broken)}")
    return record


def _fault(record: Mapping[str, Any]) -> str:
    own = {key: value for key, value in record.items() if key != SEAL}
    if record.get(SEAL, seal := digest(own)) != seal:
        return "its content is not what was written"
    return "" if _is_list_of_files(record.get("files", {})) else "its list of files is none"


def check(folder: Path, record: Mapping[str, Any] | None = None, *, anew: bool = False) -> None:
    """See that a finished stage is what was written: nothing missing, changed, or added to what is read. A folder
    without a manifest is none.

    Args:
        folder: of the stage.
        record: its manifest; None: it is read.
        anew: read large files too, whether or not they look as they did.

    Raises:
        ArtifactError: names the file and the command that removes the stage.
    """
    record = _own(folder) if record is None else record
    if what := _misplaced(folder, record):
        raise ArtifactError(f"{folder.resolve()} {what}. Remove it and run again: {removal(folder.resolve())}")
    listed = record.get("files")
    if listed is None:
        if record:
            _tell_unchecked(folder)
        return
    for path in (folder / name for name in LOOSE):
        if gone(path):
            log.warning("%s %s: its curve is left out of reports.", path, _absence(path))
    found = (
        (folder / name, _difference(folder / name, facts, folder, anew))
        for name, facts in listed.items()
        if name not in ASIDE
    )
    added = ((path, "was not written by this stage") for path in _added(folder, listed))
    for path, what in (*found, *added):
        if what:
            mend = "Take it away" if what.startswith("was not") else "Restore the file"
            raise ArtifactError(
                f"{path} {what}, so nothing is read from this stage. {mend}, or remove the stage and run again, which "
                f"makes it anew: {removal(folder)}"
            )


def difference(path: Path, folder: Path | None = None) -> str:
    """How a file differs from what the manifest beside it says; empty where it does not, or where none speaks of it.

    Args:
        path: a file that a stage or a run may have written.
        folder: where its manifest lies, by default the file's own folder.

    Raises:
        ArtifactError: the manifest is damaged.
    """
    folder = folder or path.parent
    record = _own(folder)
    if what := _misplaced(folder, record):
        return what
    listed, name = record.get("files", {}), str(path.relative_to(folder))
    if name in listed:
        return _difference(path, listed[name], folder)
    return "was not written by this stage" if listed and name in OUTPUTS and path.exists() else ""


def gone(path: Path) -> bool:
    """Whether the manifest beside it lists a file that is not there any more.

    Raises:
        ArtifactError: the manifest is damaged.
    """
    return path.name in _own(path.parent).get("files", {}) and bool(_absence(path))


def links(run_folder: Path) -> dict[str, str]:
    """Where the links under arms and seeds lead: ``arm/seed0/spd`` to the name of a stage's folder."""
    found = sorted(path for path in run_folder.glob("*/seed*/*") if path.is_symlink())
    return {str(path.relative_to(run_folder)): path.readlink().name for path in found}


def turned(link: Path, run_folder: Path) -> str:
    """How a link differs from what it was when the run's table was made; empty where it does not.

    Raises:
        ArtifactError: the run's manifest is damaged.
    """
    wanted = _own(run_folder).get("links", {}).get(str(link.relative_to(run_folder)))
    real = link.readlink().name if link.is_symlink() else None
    if wanted is None or real == wanted:
        lost = wanted is not None and link.is_dir() and not (link / MANIFEST).is_file()
        return f"has no {MANIFEST}, which it had when the table was made" if lost else ""
    return f"leads to {real}, and led to {wanted} when the table was made" if real else "is no link any more"


def _own(folder: Path) -> dict[str, Any]:
    """The manifest of a stage or run of ours, empty where there is none; others have files of that name too."""
    if not (folder / MANIFEST).exists():
        return {}
    try:
        record = json.loads((folder / MANIFEST).read_bytes())
        ours = isinstance(record, dict) and ("inputs_sha256" in record or "experiment" in record)
    except (OSError, ValueError, RecursionError):
        ours = False
    return read(folder) if ours or (folder / "config.yaml").exists() else {}


def _misplaced(folder: Path, record: Mapping[str, Any]) -> str:
    """That a stage lies under the name of another one's inputs; empty where it does not."""
    named, made_of = STORED.fullmatch(folder.resolve().name), record.get("inputs_sha256")
    if made_of is None or named is None or str(made_of)[:12] == named[1]:
        return ""
    return f"was made by another configuration ({str(made_of)[:12]})"


def _is_list_of_files(listed: Any) -> bool:
    return isinstance(listed, dict) and all(isinstance(facts, dict) and "bytes" in facts for facts in listed.values())


@cache
def _tell_unchecked(folder: Path) -> None:
    log.warning("%s was made by an earlier version, which kept no hashes: what is read from it is not checked.", folder)


def _files(folder: Path, leave_out: tuple[str, ...]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        first = path.relative_to(folder).parts[0]
        if path.is_file() and first not in (*UNLISTED, *leave_out) and not path.name.startswith("."):
            yield path


def _added(folder: Path, listed: Mapping[str, Any]) -> Iterator[Path]:
    """Files and links under the names that stages read, which the manifest does not know."""
    above = {str(parent) for name in listed for parent in Path(name).parents}
    for name in OUTPUTS:
        place = folder / name
        for path in (place, *sorted(place.rglob("*"))) if place.is_dir() else (place,):
            own = str(path.relative_to(folder))
            there = path.is_symlink() or path.is_file()
            if there and own not in listed and own not in above and not path.name.startswith("."):
                yield path


def _facts(path: Path, folder: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": _digest(path, folder)}


def _absence(path: Path) -> str:
    if path.is_file():
        return ""
    return "is no file any more" if path.exists() or path.is_symlink() else "is missing"


def _difference(path: Path, facts: Mapping[str, Any], folder: Path, anew: bool = False) -> str:
    try:
        if what := _absence(path):
            return what
        size = path.stat().st_size
        if size != facts["bytes"]:
            return f"is damaged: it has {size:,} bytes and was written with {facts['bytes']:,}"
        wanted = facts.get("sha256")
        known = wanted is None or (not anew and wanted == _digest(path, folder))
        if not known and wanted != content_digest(path):
            return "is damaged: its content is not what was written"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def _digest(path: Path, folder: Path) -> str:
    if path.stat().st_size < LARGE:
        return content_digest(path)
    return remembered([path], folder.resolve().parent / "digests.json", content_digest, "content of ")[0]
