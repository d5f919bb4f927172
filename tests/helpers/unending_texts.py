"""Long texts on which a pattern may take the square of their length, or worse. Each maker gives one of n characters."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

WORDS = (
    "there",
    "is",
    "a",
    "small",
    "left",
    "pleural",
    "effusion",
    "and",
    "no",
    "edema",
    "in",
    "the",
    "lungs",
    "heart",
    "normal",
    "size",
    "increased",
    "opacity",
    "unchanged",
    "without",
    "evidence",
    "of",
    "acute",
    "pneumonia",
    "which",
    "has",
    "been",
    "seen",
    "or",
    "not",
    "but",
    "however",
    "cardiac",
    "silhouette",
    "right",
    "lower",
    "lobe",
    "atelectasis",
    "mild",
    "consolidation",
    "are",
    "was",
    "stable",
    "worse",
    "improved",
    "while",
)


def again(unit: str) -> Callable[[int], str]:
    return lambda n: (unit * (n // len(unit) + 1))[:n]


def drawn(words: Sequence[str], between: str = " ") -> Callable[[int], str]:
    """Words by lot, so that no repetition can be cut short."""

    def make(n: int) -> str:
        lot, parts, size = random.Random(0), list[str](), 0
        while size < n:
            parts.append(lot.choice(words))
            size += len(parts[-1]) + len(between)
        return between.join(parts)[:n]

    return make


LONG: dict[str, Callable[[int], str]] = {
    "no full stop": drawn(WORDS),
    "commas alone": again(","),
    "blanks alone": again(" "),
    "no, no": again("no "),
    "one word": again("a"),
    "one word of letters by lot": drawn("abcdefghijklmnop", ""),
    "brackets": again("["),
    "braces": again("{"),
    "open JSON": again('{"a":'),
    "open lists": again('["a",'),
    "line ends": again("\n"),
    "line ends as two signs": again("\\n"),
    "lines of one letter": again("a\n"),
    "lines": drawn(WORDS, "\n"),
    "words and commas": drawn(WORDS, ", "),
    "words and colons": drawn(WORDS, ": "),
    "words and slashes": drawn(WORDS, "/"),
    "words and dashes": drawn(WORDS, " - "),
    "table": again("| edema | no |\n"),
    "one row": again("edema | no | "),
    "a wide row above narrow ones": lambda n: again("a|")(n // 2) + "\n" + again("a|\n")(n // 2),
    "courses": drawn(["edema", "effusion", "increased", "decreased", "stable", "worse", "better"], ", "),
    "tags": again("<a>"),
    "thinking": again("<think>"),
    "questions": again("edema? "),
    "signs": drawn(".,;:!?-_()[]{}<>|/*#'\"", ""),
    "signs and blanks": drawn(".,;:!?-_()[]{}<>|/*#'\"", " "),
    "slashes": again("/ ,"),
    "dots": again(". "),
    "titles": drawn([f"overall {w}" for w in ("impression", "findings", "result", "summary", "report", "answer")]),
    "how a verdict is": drawn(
        ["now", "still", "all", "both", "very", "quite", "clearly", "likely", "probably", "definitely", "most"]
    ),
    "how a finding is": drawn(["acute", "apparent", "focal", "any", "for", "of", "clear", "new", "other", "evidence"]),
    "bold": again("**a"),
    "clear lungs": again("The lungs are clear. "),
    "bullets": again("- edema\n"),
    "ticks": again("\u2713 edema "),
}
