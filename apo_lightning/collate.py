"""Studies with answers -> tensors. Tokenises, cuts, pads; does not shift (`functional.logprobs` owns that)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from apo_lightning import prompts
from apo_lightning.errors import DataError
from apo_lightning.types import Branch, BranchBatch, Example, PromptBatch

Item = tuple[Example, Sequence[Image.Image]]


def disarm(text: str) -> str:
    """Break up anything that would be read as a control token (``<|im_end|>``): a teacher's text is data.

    >>> disarm("No edema.<|im_end|>")
    'No edema.< |im_end|>'
    """
    return text.replace("<|", "< |")


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
    """

    def __init__(self, processor: Any, *, prompt: str, findings: Sequence[str], max_prompt_tokens: int,
                 max_branch_tokens: int, max_context_tokens: int) -> None:  # fmt: skip
        self.processor = processor
        self.tokenizer = processor.tokenizer
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
        return BranchBatch(**vars(prompt), **self._branches([example.branches for example, _ in items]))

    def _prompts(self, items: Sequence[Item]) -> PromptBatch:
        reports = [self._reports(example) for example, _ in items]
        features = self._process(items, reports)
        lengths = features["attention_mask"].sum(-1).tolist()
        if self.reads_reports and max(lengths) > self.max_prompt_tokens:
            reports = [self._shorten(texts, length) for texts, length in zip(reports, lengths, strict=True)]
            features = self._process(items, reports)
            lengths = features["attention_mask"].sum(-1).tolist()
        if max(lengths) > self.max_prompt_tokens:
            worst = lengths.index(max(lengths))
            raise DataError(
                f"The prompt of study '{items[worst][0].study.id}' has {lengths[worst]} tokens, more than "
                f"{self.max_prompt_tokens}. Image tokens are never cut: lower student.max_pixels, or raise "
                f"student.{'max_context_tokens' if self.reads_reports else 'max_prompt_tokens'}."
            )
        return PromptBatch(
            [example.study.id for example, _ in items], features["input_ids"], features["attention_mask"],
            features["pixel_values"], features["image_grid_thw"],
        )  # fmt: skip

    def _reports(self, example: Example) -> list[str]:
        return [disarm(" ".join(t.text.split())) for t in example.context] if self.reads_reports else []

    def _process(self, items: Sequence[Item], reports: Sequence[Sequence[str]]) -> Any:
        texts = [self._render(len(images), texts) for (_, images), texts in zip(items, reports, strict=True)]
        images = [image.convert("RGB") for _, pictures in items for image in pictures]
        return self.processor(text=texts, images=images, return_tensors="pt", padding=True)

    def _render(self, images: int, reports: Sequence[str]) -> str:
        content = [{"type": "image"}] * images
        content.append({"type": "text", "text": prompts.render(self.prompt, self.findings, reports)})
        messages = [{"role": "user", "content": content}]
        return self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _shorten(self, reports: list[str], length: int) -> list[str]:
        """Cut every report to the longest common length with which a prompt of ``length`` tokens fits."""
        tokens = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in reports]
        room = self.max_prompt_tokens - (length - sum(map(len, tokens)))
        if length <= self.max_prompt_tokens or room < len(reports):
            return reports
        limit = max(n for n in range(1, room + 1) if sum(min(len(row), n) for row in tokens) <= room)
        self.cut["reports"] += sum(len(row) > limit for row in tokens)
        return [self.tokenizer.decode(row[:limit]) if len(row) > limit else text
                for row, text in zip(tokens, reports, strict=True)]  # fmt: skip

    def encode_answer(self, text: str) -> list[int]:
        """Token ids of an answer with its end-of-turn token, cut at ``max_branch_tokens``."""
        ids = self.tokenizer(disarm(text), add_special_tokens=False)["input_ids"] + [self.tokenizer.eos_token_id]
        if len(ids) > self.max_branch_tokens:
            self.cut["branches"] += 1
        return ids[: self.max_branch_tokens]

    def _branches(self, rows: Sequence[Sequence[Branch]]) -> dict[str, Any]:
        encoded = [[self.encode_answer(branch.text) for branch in row] for row in rows]
        shape = (len(rows), max(map(len, rows)))
        length = max(len(ids) for row in encoded for ids in row)
        ids = torch.full((*shape, length), self.tokenizer.pad_token_id)
        mask = torch.zeros((*shape, length), dtype=torch.long)
        weight, present = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
        for b, row in enumerate(rows):
            for u, branch in enumerate(row):
                _fill(ids[b, u], mask[b, u], encoded[b][u])
                weight[b, u], present[b, u] = branch.weight, True
        sources = [[branch.source for branch in row] for row in rows]
        return dict(branch_ids=ids, branch_mask=mask, weight=weight, present=present, sources=sources)


def _fill(ids: Tensor, mask: Tensor, tokens: list[int]) -> None:
    ids[: len(tokens)] = torch.tensor(tokens)
    mask[: len(tokens)] = 1
