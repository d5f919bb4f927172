"""Texts stay text: whatever a tokenizer calls special or added is spelled out in ordinary pieces where a text holds it,
so that a teacher who writes ``</s>`` or ``<image>`` neither ends a turn nor shows an image.

Such a text is parted inside each of them by two noncharacters (`BREAK`), which fit no token and which the tokenizer's
first step takes out again: the pieces decode to the text itself. A text without any is tokenised as ever.

``apply_chat_template(sanitize_control_tokens=True)`` of transformers gives no offsets, misses added tokens that the
template does not write, and refuses tokenizers that put a token of their own in front.
"""

from __future__ import annotations

import copy
import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from tokenizers import pre_tokenizers

from apo_lightning.files.characters import boundary, whole

BREAK = "\ufdd0\ufdd1"
"""Noncharacters are not exchanged; a text that has this pair all the same is parted inside it, and keeps it."""
PROBE = ("(a", "b) c")
NO_MARK = re.compile(r"[\w\s\u2581'\u2019-]*")
"""Added tokens that are words or layout (Gemma has one for two line breaks) stay what they are."""
LOST = "\ufffd"


@dataclass(frozen=True)
class Pieces:
    """A text as tokens.

    Attributes:
        text: what they decode to.
        ids: token ids.
        offsets: where each stands in ``text``; the parts of one character all have its place.
        shown: ``text`` as the student's tokenizer is to be given it.
        control: whether something in it would have been read as a control token.
    """

    text: str
    ids: list[int]
    offsets: list[tuple[int, int]]
    shown: str
    control: bool

    def first(self, limit: int) -> str:
        """At most the first ``limit`` tokens, without a part of a character."""
        if len(self.ids) <= limit:
            return self.text
        if limit < 1:
            return ""
        return self.text[: boundary(self.text, min(self.offsets[limit - 1][1], self.offsets[limit][0]))].rstrip()

    def between(self, limit: int) -> int:
        """The greatest number of tokens up to ``limit`` that ends between characters; between code points where the
        first character alone is longer, and ``limit`` where the first code point is."""
        ends = [count for count in range(1, min(limit, len(self.ids)) + 1) if self._is_whole(count)]
        apart = (count for count in reversed(ends) if boundary(self.text, end := self.offsets[count - 1][1]) == end)
        return next(apart, ends[-1] if ends else limit)

    def _is_whole(self, count: int) -> bool:
        return count == len(self.ids) or self.offsets[count][0] >= self.offsets[count - 1][1]


class TextTokens:
    """Tokenises texts for a student. For the rare tokenizer that cannot be made to take out `BREAK` (one of whole
    words) a space parts what would be a control token, and stays.

    Args:
        processor: the student's, with a fast tokenizer.
        keep: which added tokens a text may have (the tags of thinking that is taught); never special ones.

    Attributes:
        processor: the same; a copy whose tokenizer takes out `BREAK`, where the given one does not.
        control: ids that no text gives.
    """

    def __init__(self, processor: Any, keep: Callable[[str], bool] | None = None) -> None:
        self.processor = processor
        if not _takes_out(processor.tokenizer):
            self.processor = copy.copy(processor)
            self.processor.tokenizer = copy.deepcopy(processor.tokenizer)
        self.tokenizer = self.processor.tokenizer
        self._break = BREAK if take_out_breaks(self.tokenizer) else " "
        self.control = control_ids(processor, keep)
        named = {BREAK, *(value for value in _attributes(processor, "_token") if len(str(value)) > 1)}
        self._named = re.compile(f"(?={'|'.join(map(re.escape, sorted(named)))})")
        added = self.tokenizer.added_tokens_decoder
        self._normalized = any(i not in added or added[i].normalized for i in self.control)
        tokens = [*named, *self.tokenizer.convert_ids_to_tokens(sorted(self.control))]
        starts = {form.lstrip()[:1] for token in tokens for form in (token, self._normal(token))} - {""}
        self._start = re.compile(f"[{''.join(map(re.escape, sorted(starts)))}]")

    def __call__(self, text: str) -> Pieces:
        """A text as tokens, none of which is a control token. Half a character, which no tokenizer takes, becomes
        U+FFFD; so does a control token of one character, which cannot be parted."""
        text = whole(text)
        cuts = {found.start() + 1 for found in self._named.finditer(text)} if self._start.search(text) else set()
        pieces, marks = self._tokens(text, cuts)
        while marks:
            for start, end in marks:
                if start + 1 < end and start + 1 not in cuts:
                    cuts.add(start + 1)
                else:
                    text = f"{text[:start]}{'?' if text[start] == LOST else LOST}{text[start + 1 :]}"
            pieces, marks = self._tokens(text, cuts)
            pieces = replace(pieces, control=True)
        return pieces

    def escape_special_tokens(self, text: str) -> str:
        """``text`` as a prompt may hold it."""
        return self(text).shown if self._may_hold(text) else whole(text)

    def holds_control(self, text: str) -> bool:
        """Whether the tokenizer would read a control token in ``text``."""
        return self._may_hold(text) and self(text).control

    def _may_hold(self, text: str) -> bool:
        """Whether ``text`` has a character with which a control token begins: most have none, and are not tokenised."""
        return bool(self._start.search(text) or (self._normalized and self._start.search(self._normal(text))))

    def _normal(self, text: str) -> str:
        normalizer = self.tokenizer.backend_tokenizer.normalizer
        return text if normalizer is None else normalizer.normalize_str(whole(text))

    def _tokens(self, text: str, cuts: set[int]) -> tuple[Pieces, list[tuple[int, int]]]:
        """``text`` parted at ``cuts``, and where a control token is read all the same."""
        edges = [0, *sorted(cuts), len(text)]
        shown = self._break.join(text[a:b] for a, b in pairwise(edges))
        found = self.tokenizer(shown, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = found["input_ids"], found["offset_mapping"]
        if not cuts and self.control.isdisjoint(ids):
            return Pieces(text, ids, offsets, shown, control=False), []
        if cuts:
            width = len(self._break)
            breaks = [cut + i * width for i, cut in enumerate(edges[1:-1])]
            offsets = [tuple(place - width * bisect_left(breaks, place) for place in span) for span in offsets]
        read = [
            span for i, span in zip(ids, offsets, strict=True) if i in self.control and self._is_mark(i, text, span)
        ]
        return Pieces(text, ids, offsets, shown, bool(cuts)), [(b - len(text[a:b].lstrip()), b) for a, b in read]

    def _is_mark(self, token: int, text: str, span: tuple[int, int]) -> bool:
        """Whether a control token stands for itself: an unknown character may have become one too."""
        said, unknown = text[slice(*span)].strip(), self.tokenizer.unk_token
        if token != self.tokenizer.unk_token_id:
            return bool(said)
        return self._normal(said) == self._normal(unknown)


def control_ids(processor: Any, keep: Callable[[str], bool] | None = None) -> frozenset[int]:
    """Ids of whatever tokenizer and processor call special, and of added tokens that are neither words nor layout, nor
    such as ``keep`` says."""
    words = processor.tokenizer
    added = {i: token.content for i, token in words.added_tokens_decoder.items()}
    special = {*words.all_special_ids, *(i for i, token in words.added_tokens_decoder.items() if token.special)}
    marks = {i for i, text in added.items() if not (NO_MARK.fullmatch(text) or (keep and keep(text)))}
    named = {i for i in _attributes(processor, "_token_id") if isinstance(i, int)}
    return frozenset(special | marks | named)


def take_out_breaks(tokenizer: Any) -> bool:
    """Let a tokenizer take `BREAK` out of its texts, in place, and say whether it does. The step comes before its own
    ones, or behind those that would begin a new word at a break; texts without one are tokenised as ever."""
    backend = tokenizer.backend_tokenizer
    own, out = backend.pre_tokenizer, pre_tokenizers.Split(BREAK, "removed")
    orders = ([out, own], [own, out]) if own else ([out],)
    for order in () if _takes_out(tokenizer) else orders:
        backend.pre_tokenizer = pre_tokenizers.Sequence(order)
        if _takes_out(tokenizer):
            return True
        backend.pre_tokenizer = own
    return _takes_out(tokenizer)


def _takes_out(tokenizer: Any) -> bool:
    parted, joined = (
        tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"])
        for text in (BREAK.join(PROBE), "".join(PROBE))
    )
    return parted == joined


def _attributes(processor: Any, ending: str) -> list[Any]:
    """What a processor calls its tokens."""
    return [value for name, value in vars(processor).items() if name.endswith(ending) and value]
