"""Damage to files, for tests of what reads them."""

from __future__ import annotations

import os
from pathlib import Path

from apo_lightning.files.atomic import remove


def put(path: Path, content: bytes) -> None:
    remove(path)
    path.write_bytes(content)


def flip(path: Path) -> None:
    """One bit, at the old size and times."""
    content, at = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))


def keep(path: Path, share: float) -> None:
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(rows[: int(len(rows) * share)]))


def swap(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
