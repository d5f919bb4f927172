"""Writing the project: the files of ``files/``, and images that are drawn."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

from apo_lightning import __version__
from apo_lightning.errors import ConfigError
from apo_lightning.starter import images

FILES, ENDING = Path(__file__).with_name("files"), ".in"
NAME = "apo-lightning"
MAY_BE_THERE = {".git", ".venv"}
"""What people make first in a new folder; nothing of ours is written there."""


def write(folder: Path) -> list[Path]:
    """Write the project into ``folder``, which is made where it is missing.

    Returns:
        the files that were written, but for the images.

    Raises:
        ConfigError: it is a file, or a folder that holds something; nothing was written.
    """
    _require_empty(folder)
    words = {"name": folder.resolve().name, "package": package(), "studies": str(sum(images.SIZES.values()))}
    written = []
    for source in sorted(path for path in FILES.rglob(f"*{ENDING}")):
        target = folder / source.relative_to(FILES).with_name(_named(source))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(filled(source.read_text("utf-8"), words), encoding="utf-8")
        written.append(target)
    return [*written, images.write(folder / "data" / "xrays")]


def _named(source: Path) -> str:
    """``dot_gitignore.in`` is ``.gitignore``: a wheel leaves out hidden files."""
    name = source.name.removesuffix(ENDING)
    return f".{name.removeprefix('dot_')}" if name.startswith("dot_") else name


def package() -> str:
    """What pip installs to get what runs now: where it came from if that is known, else name and version."""
    try:
        told = metadata.distribution(NAME).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        told = None
    return f"{NAME} @ {json.loads(told)['url']}" if told else f"{NAME}=={__version__}"


def filled(text: str, words: dict[str, str]) -> str:
    """A template with its ``{{word}}`` replaced."""
    for name, word in words.items():
        text = text.replace("{{" + name + "}}", word)
    return text


def _require_empty(folder: Path) -> None:
    if folder.is_dir():
        held = sorted(path.name for path in folder.iterdir() if path.name not in MAY_BE_THERE)
        if held:
            more = f" and {len(held) - 3:,} more" if len(held) > 3 else ""
            raise ConfigError(
                f"{folder} is not empty: it has {', '.join(held[:3])}{more}. Name a new or an empty folder."
            )
    elif folder.exists() or folder.is_symlink():
        raise ConfigError(f"{folder} is a file. Name a new or an empty folder.")
