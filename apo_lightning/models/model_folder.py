"""What a model folder may hold before a library that reads its files whole is asked to."""

from __future__ import annotations

from pathlib import Path

from apo_lightning.files.limits import MAX_MODEL_TEXT, MAX_TOKENIZER_TEXT

TOKENIZER = ("tokenizer", "vocab", "merges", "spiece", "sentencepiece", "added_tokens")
"""How names of files begin that list a vocabulary."""
TEXTS = (".json", ".jinja", ".txt", ".model")
"""Files that are read whole; weights are not."""


def require_bounded(folder: str | Path) -> None:
    """Refuse a folder one of whose texts is larger than any honest one; of a hub name nothing is known here.

    Raises:
        ValueError: says which, its size, and the limit.
    """
    place = Path(folder)
    for path in sorted(place.iterdir()) if place.is_dir() else ():
        if path.suffix.lower() not in TEXTS or not path.is_file():
            continue
        most = MAX_TOKENIZER_TEXT if path.name.lower().startswith(TOKENIZER) else MAX_MODEL_TEXT
        if (size := path.stat().st_size) > most:
            raise ValueError(f"{path.name} has {size:,} bytes; at most {most:,} are read")
