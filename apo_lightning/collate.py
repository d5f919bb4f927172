"""Studies with answers -> tensors. Tokenises, cuts, pads; does not shift (`functional.logprobs` owns that)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from PIL import Image

from apo_lightning import prompts
from apo_lightning.characters import boundary, whole
from apo_lightning.errors import DataError
from apo_lightning.image_records import split_images
from apo_lightning.processor import control_tokens, end_of_turn
from apo_lightning.stores.keys import branch_key, image_key, prompt_key
from apo_lightning.types import Branch, BranchBatch, Example, PromptBatch

Item = tuple[Example, Sequence[Image.Image]]
TEXT_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"})
"""What a processor makes of the text; everything else it returns belongs to the images."""


def disarm(text: str, control: re.Pattern[str] = re.compile(r"<\|")) -> str:
    """Break up anything that would be read as a control token (``<|im_end|>``): a teacher's text is data. A half
    character, which no tokenizer takes, becomes U+FFFD.

    >>> disarm("No edema.<|im_end|>")
    'No edema.< |im_end|>'
    >>> disarm("<image> No edema.</s>", re.compile("<image>|</s>"))
    '< image> No edema.< /s>'
    """
    return control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", whole(text))


class Collator:
    """Batches ``(example, images)`` pairs under one prompt template.

    Args:
        processor: tokenizer and image processor of the student.
        prompt: template name; one that uses ``$reports`` shows the example's context.
        findings: names that ``$findings`` lists.
        max_prompt_tokens: a longer prompt is an error, since image tokens must never be cut.
        max_branch_tokens: answers are cut here at the end (without an end-of-turn token) and counted in ``cut``.
        max_context_tokens: budget of a prompt with reports; when it is exceeded all reports are cut to one common
            length, never the last one alone, and counted in ``cut``.
        keys: give batches the content hashes by which features and reference log-probs are stored.
    """

    def __init__(self, processor: Any, *, prompt: str, findings: Sequence[str], max_prompt_tokens: int,
                 max_branch_tokens: int, max_context_tokens: int, keys: bool = False) -> None:  # fmt: skip
        self.processor, self.keys = processor, keys
        self.tokenizer = processor.tokenizer
        self.end, self.control = end_of_turn(processor), control_tokens(processor)
        self.prompt = prompt
        self.findings = tuple(findings)
        self.reads_reports = "$reports" in prompts.load(prompt).template
        self.max_prompt_tokens = max_context_tokens if self.reads_reports else max_prompt_tokens
        self.max_branch_tokens = max_branch_tokens
        self.cut: Counter[str] = Counter()

    def __call__(self, items: Sequence[Item]) -> PromptBatch | BranchBatch:
        prompt = self._prompts(items)
        if not any(example.branches for example, _ in items):
            return prompt
        batch = BranchBatch(**vars(prompt), **self._branches([example.branches for example, _ in items]))
        if self.keys:
            batch.branch_keys = _branch_keys(batch)
        return batch

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
            [example.study.id for example, _ in items], features["input_ids"], features["attention_mask"], vision,
            [len(images) for _, images in items], image_keys=images,
        )  # fmt: skip

    def _reports(self, example: Example) -> list[str]:
        return [self.disarm(" ".join(t.text.split())) for t in example.context] if self.reads_reports else []

    def _process(self, items: Sequence[Item], reports: Sequence[Sequence[str]]) -> Any:
        texts = [self._render(len(images), texts) for (_, images), texts in zip(items, reports, strict=True)]
        images = [[image.convert("RGB") for image in pictures] for _, pictures in items]
        return self.processor(text=texts, images=images if any(images) else None, return_tensors="pt", padding=True)

    def disarm(self, text: str) -> str:
        """A teacher's text without anything that this student's tokenizer reads as a control token."""
        return disarm(text, self.control)

    def _render(self, images: int, reports: Sequence[str]) -> str:
        content = [{"type": "image"}] * images
        content.append({"type": "text", "text": prompts.render(self.prompt, self.findings, reports)})
        messages = [{"role": "user", "content": content}]
        return self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _too_long(self, item: Item, length: int, reports: Sequence[str]) -> DataError:
        """What a prompt that does not fit consists of, and what helps: fewer pixels only where the rest would fit."""
        example, images = item
        key = f"student.{'max_context_tokens' if self.reads_reports else 'max_prompt_tokens'}"
        said = self._text_tokens(len(images), reports)
        question = self._text_tokens(len(images), [""] * len(reports))
        parts = {"images": length - said, "the question": question, f"{len(reports)} reports": said - question}
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
        """Cut every report to the longest common number of tokens with which a prompt of ``length`` tokens fits. A cut
        lies between characters, and as tokens join differently at a cut, what was cut is counted again."""
        tokens = [len(self._tokens(text)["input_ids"]) for text in reports]
        room = self.max_prompt_tokens - (length - sum(tokens))
        if length <= self.max_prompt_tokens or room < len(reports):
            return reports
        limit = max(n for n in range(1, room + 1) if sum(min(count, n) for count in tokens) <= room)
        beside = length - self._text_tokens(images, reports)
        while limit:
            short = [self._first(text, limit) for text in reports]
            over = beside + self._text_tokens(images, short) - self.max_prompt_tokens
            if over <= 0:
                self.cut["reports"] += sum(one != other for one, other in zip(short, reports, strict=True))
                return short
            limit = max(0, limit - -(-over // len(reports)))
        return reports

    def _first(self, text: str, limit: int) -> str:
        """At most the first ``limit`` tokens of a text, without a part of a character."""
        ends = self._tokens(text)["offset_mapping"]
        if len(ends) <= limit:
            return text
        return text[: boundary(text, min(ends[limit - 1][1], ends[limit][0]))].rstrip()

    def _tokens(self, text: str) -> Any:
        return self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)

    def encode_answer(self, branch: Branch) -> tuple[list[int], list[bool]]:
        """Token ids of an answer with its end-of-turn token (unless it has no end of its own), cut at
        ``max_branch_tokens``, and which of them lie in a sentence that contradicts t+."""
        text = self.disarm(branch.text)
        found = self._tokens(text)
        end = [] if branch.cut else [self.end]
        ids, limit = found["input_ids"] + end, self.max_branch_tokens
        if len(ids) > limit:
            self.cut["branches"] += 1
            limit = _between(found["offset_mapping"], limit)
        spans = [tuple(len(self.disarm(branch.text[:end])) for end in span) for span in branch.conflicts]
        inside = [any(start < b and a < end for start, end in spans) for a, b in found["offset_mapping"]]
        return ids[:limit], [*inside, *[False] * len(end)][:limit]

    def _branches(self, rows: Sequence[Sequence[Branch]]) -> dict[str, Any]:
        encoded = [[self.encode_answer(branch) for branch in row] for row in rows]
        shape = (len(rows), max(map(len, rows)))
        length = max(len(ids) for row in encoded for ids, _ in row)
        made = dict(
            branch_ids=torch.full((*shape, length), self.tokenizer.pad_token_id),
            branch_mask=torch.zeros((*shape, length), dtype=torch.long),
            conflict=torch.zeros((*shape, length), dtype=torch.bool),
            weight=torch.zeros(shape), agreement=torch.zeros(shape), present=torch.zeros(shape, dtype=torch.bool),
        )  # fmt: skip
        for b, row in enumerate(rows):
            for u, branch in enumerate(row):
                ids, inside = encoded[b][u]
                made["branch_ids"][b, u, : len(ids)] = torch.tensor(ids)
                made["branch_mask"][b, u, : len(ids)] = 1
                made["conflict"][b, u, : len(ids)] = torch.tensor(inside)
                made["weight"][b, u], made["agreement"][b, u] = branch.weight, branch.agreement
                made["present"][b, u] = True
        return {**made, "sources": [[branch.source for branch in row] for row in rows]}


def _between(offsets: Sequence[tuple[int, int]], limit: int) -> int:
    """The greatest number of tokens up to ``limit`` that ends with a whole character: byte-level tokens may be a
    part of one, and then have the place of the whole."""
    cut = limit
    while 0 < cut < len(offsets) and offsets[cut][0] < offsets[cut - 1][1]:
        cut -= 1
    return cut or limit


def _branch_keys(batch: BranchBatch) -> list[list[bytes]]:
    """Content hash of prompt, images and answer of each branch; padding does not matter."""
    images, keys = iter(batch.image_keys or ()), []
    for b, names in enumerate(batch.sources):
        prefix = batch.prefix_ids[b][batch.prefix_mask[b].bool()].tolist()
        prompt = prompt_key(list(islice(images, batch.image_counts[b])), prefix)
        scored = batch.branch_mask[b].sum(-1).tolist()
        keys.append([branch_key(prompt, batch.branch_ids[b, u, : scored[u]].tolist()) for u in range(len(names))])
    return keys
