"""What of a teacher's answers is on disk, what is still to be asked, and what that takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from PIL import Image

from apo_lightning.collecting import request
from apo_lightning.collecting.endpoint import Endpoint
from apo_lightning.collecting.images import Images
from apo_lightning.collecting.journal import Answer, Held, Journal
from apo_lightning.collecting.limits import Spent
from apo_lightning.collecting.questions import Question
from apo_lightning.collecting.request import Request
from apo_lightning.collecting.sizes import Sizes, guess
from apo_lightning.types import Study


@dataclass(frozen=True)
class Item:
    """A study that a teacher is asked about, the findings that the prompt lists, and where its images are."""

    study: Study
    findings: tuple[str, ...]
    images: Images


@dataclass
class Plan:
    """One teacher's part.

    Attributes:
        name, endpoint, journal: of the teacher.
        label: what tables call it, where arms differ in how it is asked.
        items: all that it is asked about.
        answers: study to the answer that counts; ``again``: those of them that are asked again.
        questions: what is to be asked, in order.
        held: what its journal holds; ``spent``: what the answers to these questions have taken, asked again included.
        sizes: tokens of a question and an answer.
    """

    name: str
    endpoint: Endpoint
    journal: Journal
    items: Sequence[Item]
    label: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    again: int = 0
    questions: list[Question] = field(default_factory=list)
    held: Held = field(default_factory=Held)
    spent: Spent = field(default_factory=Spent)
    sizes: Sizes = field(init=False)

    @property
    def marks(self) -> Counter[str]:
        """Answers on disk by their mark, empty for none."""
        return Counter(answer.mark for answer in self.answers.values())

    @property
    def tokens(self) -> tuple[float, float]:
        """Of all questions, and of all their answers, as expected."""
        return len(self.questions) * self.sizes.question, len(self.questions) * self.sizes.answer

    @property
    def cost(self) -> float | None:
        """Of what is to be asked, as expected; None where no price is known."""
        return self.endpoint.price.of(*self.tokens)

    @property
    def most(self) -> float | None:
        """The same, if every answer is as long as it may be."""
        return self.endpoint.price.of(*(len(self.questions) * part for part in self.sizes.worst))

    @property
    def minutes(self) -> float:
        """What it takes at least by the limits of the account."""
        own, (read, written) = self.endpoint, self.tokens
        by_requests = len(self.questions) / own.requests_per_minute if own.requests_per_minute else 0.0
        return max(by_requests, (read + written) / own.tokens_per_minute if own.tokens_per_minute else 0.0)


def plan(
    name: str,
    endpoint: Endpoint,
    journal: Journal,
    items: Sequence[Item],
    again: Collection[str] = (),
    label: str = "",
) -> Plan:
    """Hold a teacher's journal against what it is asked. Images are hashed where there is an answer to compare.

    Args:
        items: each study once.
        again: marks of the answers that are asked again.

    Raises:
        ArtifactError: the journal cannot be read.
        DataError: an image that was answered cannot be read any more.
    """
    made, held = Plan(name, endpoint, journal, items, label or name), journal.read()
    made.held = held
    words = {item.study.id: request.words_of(endpoint, item.study, item.findings) for item in items}
    asks = {study: request.asks(endpoint, study, said) for study, said in words.items()}
    counts, known = Counter(own.key for own in held.answers), held.by_key()
    broken = Counter(own.key for own in held.broken)
    keys = _keys(made, [item for item in items if asks[item.study.id] in {own.asks for own in held.answers}], words)
    for item in items:
        own = item.study.id
        answer = known.get(keys.get(own, ""))
        if answer is not None:
            made.answers[own] = answer
        if answer is None or answer.mark in again:
            made.again += answer is not None
            made.questions.append(Question(own, partial(_open, made, item, words[own]), counts, broken))
    made.sizes = Sizes(endpoint, _guess(made, words)).learn(_alike(made, held))
    for own in (own for own in [*held.answers, *held.broken] if asks.get(own.study) == own.asks):
        made.spent += made.sizes.spent(own)
    return made


def _keys(own: Plan, items: Sequence[Item], words: dict[str, str]) -> dict[str, str]:
    """Study to the key of its question, of those that may have an answer."""
    found = {}
    for images in dict.fromkeys(item.images for item in items):
        studies = [item.study for item in items if item.images is images]
        for study, hashes in zip(studies, images.hashes(studies), strict=True):
            found[study.id] = _request(own, study, words[study.id], hashes).key
    return found


def _request(own: Plan, study: Study, words: str, hashes: tuple[str, ...]) -> Request:
    return Request(study.id, own.name, words, request.asks(own.endpoint, study.id, words), hashes)


def _open(own: Plan, item: Item, words: str) -> tuple[Request, Sequence[Image.Image]]:
    return _request(own, item.study, words, item.images.hashes([item.study])[0]), item.images.open(item.study)


def _guess(own: Plan, words: dict[str, str]) -> float:
    """Tokens of the first question that is to be asked."""
    asked = {question.study for question in own.questions}
    item = next((item for item in own.items if item.study.id in asked), None)
    if item is None:
        return 0.0
    sizes = [image.size for image in item.images.open(item.study)]
    return guess(own.endpoint, words[item.study.id], sizes)


def _alike(own: Plan, held: Held) -> Iterable[Answer]:
    """Answers that say how long the next ones will be: of the same model, with the same prompt and sizes."""
    drawn = own.endpoint.drawn
    return (
        answer
        for answer in held.answers
        if (answer.model, answer.prompt, dict(answer.settings)) == (own.endpoint.model, own.endpoint.prompt, drawn)
    )
