"""Studies with answers -> tensors. Tokenises, cuts, pads; does not shift (`functional.logprobs` owns that)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from apo_lightning import prompts
from apo_lightning.batching.damage import damaged
from apo_lightning.caches.keys import branch_key, image_key, prompt_key
from apo_lightning.errors import DataError
from apo_lightning.models.processor import end_of_turn
from apo_lightning.models.text_tokens import TextTokens
from apo_lightning.scoring.image_records import split_images
from apo_lightning.types import Branch, BranchBatch, Example, PromptBatch

Item = tuple[Example, Sequence[Image.Image]]
TEXT_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"})
"""What a processor makes of the text; everything else it returns belongs to the images."""


class Collator:
    """Batches ``(example, images)`` pairs under one prompt template.

    Args:
        processor: tokenizer and image processor of the student.
        prompt: template name; one that uses ``$reports`` shows the example's context.
        findings: names that ``$findings`` lists.
        max_prompt_tokens: a longer prompt is an error, since image tokens must never be cut.
        max_branch_tokens: answers are cut here at the end (without an end-of-turn token) and counted in ``cut``.
        max_context_tokens: budget of a prompt with reports; when it is exceeded the ends of all reports are cut off,
            down to one common length, never the last one alone, and counted in ``cut``; those of which nothing is
            left are counted once more.
        keys: give batches the content hashes by which features and reference log-probs are stored.
        keep: which added tokens an answer may have; all else that the tokenizer calls special or added is text where
            a question, report or answer holds it, see `text_tokens`.
        tells_labels: a prompt with ``$labels`` tells those of the study, as only a teacher may be told them.
    """

    def __init__(
        self,
        processor: Any,
        *,
        prompt: str,
        findings: Sequence[str],
        max_prompt_tokens: int,
        max_branch_tokens: int,
        max_context_tokens: int,
        keys: bool = False,
        keep: Callable[[str], bool] | None = None,
        tells_labels: bool = False,
    ) -> None:
        self.read, self.keys = TextTokens(processor), keys
        self.processor, self.tokenizer = self.read.processor, self.read.tokenizer
        self.answer = TextTokens(self.processor, keep) if keep else self.read
        self.end = end_of_turn(self.processor)
        self.prompt, self.tells_labels = prompt, tells_labels
        self.findings = tuple(findings)
        self.reads_reports = "$reports" in prompts.load(prompt).template
        self.max_prompt_tokens = max_context_tokens if self.reads_reports else max_prompt_tokens
        self.max_branch_tokens = max_branch_tokens
        self.cut: Counter[str] = Counter()

    @classmethod
    def of(cls, student: Any, prompt: str, findings: Sequence[str], **how: Any) -> Collator:
        """For a `models.student.Student`, with the token limits of its own settings."""
        limits = ("max_prompt_tokens", "max_branch_tokens", "max_context_tokens")
        limits = {name: getattr(student.settings, name) for name in limits}
        return cls(student.processor, prompt=prompt, findings=findings, **limits, **how)

    def __call__(self, items: Sequence[Item]) -> PromptBatch | BranchBatch:
        prompt = self._prompts(items)
        if not any(example.branches for example, _ in items):
            return prompt
        batch = BranchBatch(**vars(prompt), **self._branches([example.branches for example, _ in items]))
        if any(branch.damage for example, _ in items for branch in example.branches):
            batch.damaged = self._prompts(_damaged(items))
        if self.keys:
            batch.branch_keys = _branch_keys(batch)
        if any(example.weight != 1 for example, _ in items):
            batch.study_weight = torch.tensor([example.weight for example, _ in items])
        return batch

    def control_texts(self, examples: Iterable[Example]) -> dict[str, int]:
        """How many answers and reports hold what this student's tokenizer would read as a control token."""
        found: Counter[str] = Counter()
        for example in examples:
            found["branches"] += sum(self.answer.holds_control(branch.text) for branch in example.branches)
            found["reports"] += sum(map(self.read.holds_control, self._reports(example)))
        return dict(+found)

    def _prompts(self, items: Sequence[Item]) -> PromptBatch:
        reports = [self._reports(example) for example, _ in items]
        features = self._process(items, reports)
        lengths = features["attention_mask"].sum(-1).tolist()
        if self.reads_reports and max(lengths) > self.max_prompt_tokens:
            counts = [len(images) for _, images in items]
            reports = [self._shorten(*each) for each in zip(reports, lengths, counts, strict=True)]
            features = self._process(items, reports)
            lengths = features["attention_mask"].sum(-1).tolist()
        if max(lengths) > self.max_prompt_tokens:
            worst = lengths.index(max(lengths))
            raise self._too_long(items[worst], lengths[worst], reports[worst])
        vision = {name: value for name, value in features.items() if name not in TEXT_INPUTS}
        images = [image_key(image) for image in split_images(vision)] if self.keys and vision else None
        return PromptBatch(
            [example.study.id for example, _ in items],
            features["input_ids"],
            features["attention_mask"],
            vision,
            [len(images) for _, images in items],
            image_keys=images,
        )

    def _reports(self, example: Example) -> list[str]:
        return [" ".join(said.text.split()) for said in example.context] if self.reads_reports else []

    def _process(self, items: Sequence[Item], reports: Sequence[Sequence[str]]) -> Any:
        labels = [example.study.findings for example, _ in items]
        counts = [len(images) for _, images in items]
        texts = [self._render(*each) for each in zip(counts, reports, labels, strict=True)]
        images = [[image.convert("RGB") for image in pictures] for _, pictures in items]
        return self.processor(text=texts, images=images if any(images) else None, return_tensors="pt", padding=True)

    def _render(self, images: int, reports: Sequence[str], labels: Mapping[str, float] | None = None) -> str:
        told = (labels or {}) if self.tells_labels else None
        question = self.read.escape_special_tokens(prompts.render(self.prompt, self.findings, reports, told))
        content = [*[{"type": "image"}] * images, {"type": "text", "text": question}]
        messages = [{"role": "user", "content": content}]
        return self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _too_long(self, item: Item, length: int, reports: Sequence[str]) -> DataError:
        """What a prompt that does not fit consists of, though nothing is left of its reports, and what helps: fewer
        pixels only where the rest would fit."""
        example, images = item
        key = f"student.{'max_context_tokens' if self.reads_reports else 'max_prompt_tokens'}"
        said = self._text_tokens(len(images), reports)
        question = self._text_tokens(len(images), [])
        lines = f"{len(reports)} reports without a word of them"
        parts = {"images": length - said, "the question": question, lines: said - question}
        told = ", ".join(f"{count} of {name}" for name, count in parts.items() if count)
        ways = [f"raise {key}"]
        if parts["images"] and said < self.max_prompt_tokens:
            ways.insert(0, "lower student.max_pixels (image tokens are never cut)")
        if reports:
            ways.append("let it read fewer teachers (pool.select)")
        return DataError(
            f"The prompt of study '{example.study.id}' has {length} tokens, more than {self.max_prompt_tokens}: {told}."
            f" To make it fit, {', or '.join(ways)}."
        )

    def _text_tokens(self, images: int, reports: Sequence[str]) -> int:
        """Tokens of a prompt besides those of its images."""
        return len(self.tokenizer(self._render(images, reports))["input_ids"]) - images

    def _shorten(self, reports: list[str], length: int, images: int) -> list[str]:
        """Keep of every report the longest common number of first tokens with which a prompt of ``length`` tokens fits,
        none if need be. A cut lies between characters, and as tokens join differently at a cut, what is left is
        counted again."""
        if length <= self.max_prompt_tokens:
            return reports
        pieces = [self.read(text) for text in reports]
        counts = [len(each.ids) for each in pieces]
        beside = length - self._text_tokens(images, reports)
        limit = _common(counts, self.max_prompt_tokens - (length - sum(counts)))
        while True:
            short = [each.first(limit) for each in pieces]
            over = beside + self._text_tokens(images, short) - self.max_prompt_tokens
            if over <= 0 or limit == 0:
                break
            limit = max(0, limit - -(-over // len(reports)))
        self.cut["reports"] += sum(each.text != kept for each, kept in zip(pieces, short, strict=True))
        if lost := sum(bool(each.text) and not kept for each, kept in zip(pieces, short, strict=True)):
            self.cut["reports to nothing"] += lost
        return short

    def encode_answer(self, branch: Branch) -> tuple[list[int], list[bool]]:
        """Token ids of an answer with its end-of-turn token (unless it has no end of its own), cut at
        ``max_branch_tokens``, and which of them lie in a sentence that contradicts t+."""
        ids, places = self._tokens(branch)
        inside = {i for span in branch.conflicts for i in _inside(places, *span)}
        return ids, [i in inside for i in range(len(ids))]

    def _tokens(self, branch: Branch) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids of an answer, and the place in its text of each but the end-of-turn token."""
        said = self.answer(branch.text)
        end = [] if branch.cut else [self.end]
        ids, limit = said.ids + end, self.max_branch_tokens
        if len(ids) > limit:
            self.cut["branches"] += 1
            limit = said.between(limit)
        return ids[:limit], said.offsets[:limit]

    def _branches(self, rows: Sequence[Sequence[Branch]]) -> dict[str, Any]:
        encoded = [[self._tokens(branch) for branch in row] for row in rows]
        shape = (len(rows), max(map(len, rows)))
        length = max(len(ids) for row in encoded for ids, _ in row)
        made = dict(
            branch_ids=torch.full((*shape, length), self.tokenizer.pad_token_id),
            branch_mask=torch.zeros((*shape, length), dtype=torch.long),
            conflict=torch.zeros((*shape, length), dtype=torch.bool),
            weight=torch.zeros(shape),
            agreement=torch.zeros(shape),
            present=torch.zeros(shape, dtype=torch.bool),
        )
        for b, row in enumerate(rows):
            for u, branch in enumerate(row):
                ids, places = encoded[b][u]
                made["branch_ids"][b, u, : len(ids)] = torch.tensor(ids)
                made["branch_mask"][b, u, : len(ids)] = 1
                made["weight"][b, u], made["agreement"][b, u] = branch.weight, branch.agreement
                made["present"][b, u] = True
                for start, end in branch.conflicts:
                    made["conflict"][b, u, _inside(places, start, end)] = True
        if any(branch.votes for row in rows for branch in row):
            made |= _votes(rows, encoded, (*shape, length))
        return {**made, "sources": [[branch.source for branch in row] for row in rows]}


def _damaged(items: Sequence[Item]) -> list[Item]:
    """The studies with damaged images and without answers.

    Raises:
        ValueError: another answer than the second of each study asks for them.
    """
    made: list[Item] = []
    for example, images in items:
        asking = [branch.damage for branch in example.branches]
        if len(asking) < 2 or asking[1] is None or sum(each is not None for each in asking) > 1:
            raise ValueError(
                "In a batch with damaged images the second answer of each study stands behind them, and no other; "
                f"of study '{example.study.id}' it is {[i for i, each in enumerate(asking) if each]} of {len(asking)}."
            )
        made.append((replace(example, branches=()), damaged(images, asking[1], example.study.id)))
    return made


Places = Sequence[tuple[int, int]]


def _inside(places: Places, start: int, end: int) -> list[int]:
    """Which tokens share a character with ``start:end`` of their text."""
    return [i for i, (a, b) in enumerate(places) if start < b and a < end]


def _votes(
    rows: Sequence[Sequence[Branch]], encoded: Sequence[Sequence[tuple[Any, Places]]], shape: tuple[int, ...]
) -> dict[str, Tensor]:
    """``contradicted`` and ``judged``; a token of two sentences is one of that which more teachers contradict."""
    made = {name: torch.zeros(shape, dtype=torch.long) for name in ("contradicted", "judged")}
    for b, row in enumerate(rows):
        for u, branch in enumerate(row):
            for vote in sorted(branch.votes, key=lambda vote: vote.against):
                inside = _inside(encoded[b][u][1], vote.start, vote.end)
                made["contradicted"][b, u, inside] = vote.against
                made["judged"][b, u, inside] = vote.judged
    return made


def _common(counts: Sequence[int], room: int) -> int:
    """The greatest n for which texts of so many tokens, cut to n, have ``room``; 0 where there is none.

    >>> _common([3, 10, 10], 15), _common([3, 10, 10], 2)
    (6, 0)
    """
    return max((n for n in range(1, room + 1) if sum(min(count, n) for count in counts) <= room), default=0)


def _branch_keys(batch: BranchBatch) -> list[list[bytes]]:
    """Content hash of prompt, images and answer of each branch; padding does not matter."""
    whole, keys = _prompt_keys(batch), []
    spoilt = whole if batch.damaged is None else _prompt_keys(batch.damaged)
    for b, names in enumerate(batch.sources):
        behind = [spoilt[b] if u == 1 else whole[b] for u in range(len(names))]
        scored = batch.branch_mask[b].sum(-1).tolist()
        keys.append([branch_key(behind[u], batch.branch_ids[b, u, : scored[u]].tolist()) for u in range(len(names))])
    return keys


def _prompt_keys(batch: PromptBatch) -> list[bytes]:
    images = iter(batch.image_keys or ())
    own = [list(islice(images, count)) for count in batch.image_counts]
    prefixes = [ids[mask.bool()].tolist() for ids, mask in zip(batch.prefix_ids, batch.prefix_mask, strict=True)]
    return [prompt_key(*each) for each in zip(own, prefixes, strict=True)]
