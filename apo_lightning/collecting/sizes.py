"""How many tokens a question and its answer have: guessed at first, then as the endpoint counted them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apo_lightning.collecting.endpoint import Endpoint
from apo_lightning.collecting.journal import Answer
from apo_lightning.collecting.limits import Spent
from data_modules.images.pixels import fitting

LETTERS, FRAME = 4, 12
"""Characters of English that make a token, and tokens around a turn."""
PIXELS = 750
"""Pixels that make a token, about (Anthropic's rule; those of the others are of its order)."""
DOUBT = 1.5
"""Times a guess that a question may have, as long as nothing was counted."""


def guess(endpoint: Endpoint, words: str, images: Sequence[tuple[int, int]]) -> float:
    """Tokens of a question, roughly.

    Args:
        images: width and height of each.
    """
    sent = [fitting(size, endpoint.image_size) if endpoint.image_size else size for size in images]
    return FRAME + len(words) / LETTERS + sum(width * height / PIXELS for width, height in sent)


@dataclass
class Sizes:
    """Tokens of a teacher's questions and answers.

    Attributes:
        endpoint: of the teacher.
        guessed: tokens of a question before any was counted.
        seen: answers; ``counted``: those whose tokens were counted.
        input, output: sums over these; ``most``: of one question.
    """

    endpoint: Endpoint
    guessed: float
    seen: int = 0
    counted: int = 0
    input: int = 0
    output: int = 0
    most: int = 0

    def learn(self, answers: Iterable[Answer]) -> Sizes:
        """Take in what was counted."""
        for answer in answers:
            self.seen += 1
            if answer.input_tokens is not None and answer.output_tokens is not None:
                self.counted += 1
                self.input += answer.input_tokens
                self.output += answer.output_tokens
                self.most = max(self.most, answer.input_tokens)
        return self

    @property
    def question(self) -> float:
        """Tokens of a question, on average."""
        return self.input / self.counted if self.counted else self.guessed

    @property
    def answer(self) -> float:
        """Tokens of an answer: on average, or as many as are allowed while none was counted."""
        return self.output / self.counted if self.counted else self.endpoint.max_tokens

    def spent(self, answer: Answer | None) -> Spent:
        """What an answer took; the most that one may take for None, and where its tokens were not counted."""
        if answer is None or answer.input_tokens is None or answer.output_tokens is None:
            read, written = self.worst
            return Spent(answer.tries if answer else 1, read + written, self.endpoint.price.of(read, written) or 0.0)
        return Spent(answer.tries, answer.input_tokens + answer.output_tokens, answer.cost or 0.0)

    @property
    def worst(self) -> tuple[float, int]:
        """Tokens of a question and an answer, at most; of the question as far as was seen."""
        return (self.most * 1.1 if self.counted else self.guessed * DOUBT), self.endpoint.max_tokens
