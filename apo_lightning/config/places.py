"""Where experiments, and what they extend, are looked for by name: in the working folder, then among those that come
with this package."""

from __future__ import annotations

from pathlib import Path

EXPERIMENTS = Path("experiments")
"""Of the working folder."""
PACKAGE = Path(__file__).resolve().parents[1]


def shipped(package: Path = PACKAGE) -> Path:
    """The experiments that come with ``package``: in it where it was installed, beside it in a checkout.

    A folder beside an installed package is somebody else's, so that it counts only where ours is not inside.
    """
    inside = package / "_experiments"
    return inside if inside.is_dir() else package.parent / EXPERIMENTS.name


SHIPPED = shipped()


def places(folder: Path = EXPERIMENTS) -> list[Path]:
    """Where a name is looked for, in order: ``folder``, and if that is `EXPERIMENTS` or lies below it, the same folder
    of `SHIPPED`; one place where both are the same."""
    if not folder.is_relative_to(EXPERIMENTS):
        return [folder]
    ours = SHIPPED / folder.relative_to(EXPERIMENTS)
    return [folder] if folder.resolve() == ours.resolve() else [folder, ours]


def candidates(name: str, folder: Path = EXPERIMENTS) -> list[Path]:
    """Files that ``name``, a path or a name below ``folder``, may stand for, in the order in which they are tried."""
    found, path = [Path(name)], Path(name)
    if path.is_relative_to(EXPERIMENTS):  # as commands and sweep files of a checkout spell it
        found += [place / path.name for place in places(path.parent)]
    bare = name.removesuffix(".yaml")
    return [*found, *(place / f"{bare}.yaml" for place in places(folder))]


def said(folder: Path = EXPERIMENTS) -> str:
    """The places as a message names them."""
    return " or ".join(f"{place}/" for place in places(folder))
