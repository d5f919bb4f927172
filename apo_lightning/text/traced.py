"""Text that is put together anew, each character with the place where it stood before."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Traced:
    """What has been written so far; ``places`` has one place a character of the parts."""

    source: str
    parts: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def copy(self, start: int, end: int) -> Traced:
        """The characters ``start:end`` of the source."""
        self.parts.append(self.source[start:end])
        self.places.extend(range(start, end))
        return self

    def put(self, words: str, at: int) -> Traced:
        """Words that stand for what is at ``at`` of the source; behind its end, for its last character."""
        self.parts.append(words)
        self.places.extend([min(at, len(self.source) - 1)] * len(words))
        return self

    @property
    def text(self) -> str:
        return "".join(self.parts)
