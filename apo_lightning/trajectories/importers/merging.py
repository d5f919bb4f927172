"""What several files say of one image, brought together; whatever contradicts or repeats is refused by place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from apo_lightning.errors import DataError
from apo_lightning.findings import canonical
from apo_lightning.identifiers.matching import alike, lookalikes, may_be_one

Image = tuple[str, ...]
SHOWN = 10
"""Problems that an error lists."""


class Problems(list[str]):
    """What is wrong in a source, so that one message names all of it."""

    @contextmanager
    def at(self, where: str) -> Iterator[None]:
        """Note a ValueError of the block under its place and go on behind it."""
        try:
            yield
        except ValueError as error:
            self.append(f"{where}: {error}")

    def refuse(self, source: Path, hint: str = "") -> None:
        """
        Raises:
            DataError: there are problems.
        """
        if not self:
            return
        rest = [f"... and {len(self) - SHOWN:,} more"] if len(self) > SHOWN else []
        head = f"{source}: {len(self):,} problems; nothing was written."
        raise DataError("\n".join([head, *self[:SHOWN], *rest, *([hint] if hint else [])]))


@dataclass(frozen=True)
class Piece:
    """What one item says of one image.

    Attributes:
        where: file and item.
        id: the study, where the item names it.
        image: paths of the study's images, where the item names them.
        texts: teacher to text.
        facts: some of ``labels``, ``report``, ``patient``, ``split``.
        again: teachers whose text may come again in the same words.
    """

    where: str
    id: str | None
    image: Image | None
    texts: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict)
    again: frozenset[str] = frozenset()


def merge(pieces: Sequence[Piece], problems: Problems, image_of: str = "") -> list[dict[str, Any]]:
    """Own lines, in the order in which images first come.

    Args:
        pieces: of all files.
        problems: takes contradictions, repeated texts, and ids without an image.
        image_of: path of an image of which only the id is known, with ``{id}`` in it.

    Raises:
        DataError: ``image_of`` has no ``{id}``, so that all studies would have one image.
    """
    if image_of and "{id}" not in image_of:
        raise DataError(f"image_of must have {{id}} in it, got '{image_of}'.")
    pairs, usable = _Pairs(image_of), {number for number, piece in enumerate(pieces) if piece.image is None}
    for has_id in (True, False):  # what items say goes before what file names suggest
        for number, piece in enumerate(pieces):
            if piece.image is not None and (piece.id is not None) == has_id:
                with problems.at(piece.where):
                    pairs.add(piece.id, piece.image, piece.where)
                    usable.add(number)
    rows: dict[str, _Row] = {}
    for number in sorted(usable):
        piece = pieces[number]
        with problems.at(piece.where):
            id_, image = pairs.of(piece)
            rows.setdefault(id_, _Row(id_, image)).add(piece)
    _refuse_lookalikes(pieces, rows, problems)
    return [row.line() for row in rows.values()]


def _refuse_lookalikes(pieces: Sequence[Piece], rows: Collection[str], problems: Problems) -> None:
    """Ids of which no file says the image, beside others that they may be."""
    bare = {piece.id for piece in pieces if piece.image is None and piece.id} & set(rows)
    for text, other in may_be_one(rows, "s").items():
        if text in bare:
            problems.append(f"id '{text}' may be '{other}'. Write it in one way in all files")


class _Pairs:
    """Which id belongs to which image."""

    def __init__(self, image_of: str) -> None:
        self.image_of = image_of
        self.images: dict[str, tuple[Image, str]] = {}
        """Id to image, and the place that says so."""
        self.ids: dict[Image, tuple[str, str]] = {}

    def add(self, given: str | None, image: Image, where: str) -> None:
        """Where an image comes without an id, its file name without suffix is the id.

        Raises:
            ValueError: the id has another image, or the image another id.
        """
        if given is None and image in self.ids:
            return
        id_ = given or PurePosixPath(image[0]).stem
        held, place = self.images.setdefault(id_, (image, where))
        if held != image:
            hint = "" if given else " (the name of the file, since it has no id: give ids)"
            raise ValueError(f"id '{id_}'{hint} has the image {_named(image)} here and {_named(held)} in {place}")
        other, place = self.ids.setdefault(image, (id_, where))
        if other != id_:
            raise ValueError(f"image {_named(image)} has the id '{id_}' here and '{other}' in {place}")

    def of(self, piece: Piece) -> tuple[str, Image]:
        """Id and image of a piece; one that has an image was added.

        Raises:
            ValueError: no file says which image the id has.
        """
        id_ = self.ids[piece.image][0] if piece.image else str(piece.id)
        if id_ in self.images:
            return id_, self.images[id_][0]
        if not self.image_of:
            other = lookalikes([id_], self.images, "s").get(id_)
            may_be = f", which may be '{other}'" if other else ""
            raise ValueError(f"no file says which image '{id_}' is{may_be}. Give image_of=PATH with {{id}} in it")
        return id_, (self.image_of.replace("{id}", id_),)


class _Row:
    def __init__(self, id_: str, image: Image) -> None:
        self.id, self.image = id_, image
        self.facts: dict[str, tuple[Any, str]] = {}
        self.texts: dict[str, tuple[str, str]] = {}

    def add(self, piece: Piece) -> None:
        """
        Raises:
            ValueError: it contradicts what is known, or gives a text again.
        """
        for key, value in piece.facts.items():
            held, place = self.facts.setdefault(key, (value, piece.where))
            if _comparable(key, held) != _comparable(key, value):
                raise ValueError(f"'{key}' of '{self.id}' is {value!r:.80} here and {held!r:.80} in {place}")
        for teacher, text in piece.texts.items():
            held, place = self.texts.get(teacher, (text, ""))
            if place and not (held == text and teacher in piece.again):
                same = "the same text" if held == text else "another text"
                raise ValueError(f"'{self.id}' has {same} of teacher '{teacher}' in {place}")
            self.texts.setdefault(teacher, (text, piece.where))

    def line(self) -> dict[str, Any]:
        facts = {key: self.facts[key][0] for key in ("labels", "report", "patient", "split") if key in self.facts}
        image = self.image[0] if len(self.image) == 1 else list(self.image)
        return {"id": self.id, "image": image, **facts, "trajectories": {t: x for t, (x, _) in self.texts.items()}}


def _comparable(key: str, value: Any) -> Any:
    """Labels in any order and spelling, patients however they are written, other values as they are."""
    if key == "labels":
        return frozenset(map(canonical, value))
    return alike(value, "p") if key == "patient" else value


def _named(image: Iterable[str]) -> str:
    return " and ".join(f"'{path}'" for path in image)
