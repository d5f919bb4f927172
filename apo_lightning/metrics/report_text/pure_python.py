"""Backend ``python``: BLEU-1..4 of sacrebleu, ROUGE-L of rouge-score, METEOR of nltk. Needs no Java.

BLEU: lower case, tokenizer ``13a``, smoothing ``exp`` (the package's defaults but for the case), of the corpus; in
[0, 1]. ROUGE-L: F1 of rouge-score without stemming, which keeps letters and digits alone; mean over studies. METEOR:
nltk's (alpha .9, beta 3, gamma .5, Porter's stems, WordNet's synonyms) over the words of rouge-score; mean over
studies. None equals its namesake of the backend ``coco``: other words, no recall-leaning ROUGE-L, another version of
METEOR.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from apo_lightning.metrics.report_text import TEXT_METRICS, bleu
from apo_lightning.metrics.report_text.base import Pairs, Tally, TextMetric, means
from apo_lightning.metrics.report_text.lcs import lcs_length

NO_WORDNET = (
    "python:meteor is left out: WordNet is not on this disk. To have it: .venv/bin/python -m nltk.downloader wordnet"
)


@TEXT_METRICS.register("python")
class PurePython(TextMetric):
    """BLEU of sacrebleu, ROUGE-L of rouge-score, METEOR of nltk where WordNet is on disk."""

    def words(self) -> str:
        told = "BLEU by sacrebleu (lower case, 13a, exp), ROUGE-L (F1) by rouge-score"
        return f"{told}, METEOR by nltk." if wordnet() else f"{told}; {NO_WORDNET}."

    def measure(self, pairs: Pairs) -> list[Tally]:
        from rouge_score.tokenize import tokenize

        said = [tokenize(text, None) for text in pairs.candidates]
        wanted = [tokenize(text, None) for text in pairs.references]
        scores = {"python:rouge_l": list(map(rouge_l, said, wanted))}
        if synonyms := wordnet():
            from nltk.translate.meteor_score import single_meteor_score

            scores["python:meteor"] = [
                single_meteor_score(two, one, wordnet=synonyms) for one, two in zip(said, wanted, strict=True)
            ]
        return [bleu_counts(pairs), means(scores)]


def bleu_counts(pairs: Pairs) -> Tally:
    """Counted by sacrebleu, a study at a time."""
    scorer = _sacrebleu()
    rows = []
    for candidate, reference in zip(pairs.candidates, pairs.references, strict=True):
        found = scorer.sentence_score(candidate, [reference])
        rows.append([*found.counts, *found.totals, found.sys_len, found.ref_len])
    return Tally(np.array(rows, float).reshape(-1, bleu.WIDTH), bleu.sacre)


def rouge_l(said: list[str], wanted: list[str]) -> float:
    """F1 of the longest common subsequence, as `rouge_score.rouge_scorer` has it."""
    return 2 * lcs_length(said, wanted) / (len(said) + len(wanted)) if said and wanted else 0.0


@functools.cache
def _sacrebleu() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(lowercase=True, effective_order=True)  # which says nothing of counts, and keeps it from warning


def wordnet() -> Any:
    """nltk's reader of WordNet; None where that is not on this disk, or is not whole."""
    from nltk.corpus import wordnet as reader

    try:
        reader.ensure_loaded()
    except (LookupError, OSError, ValueError):
        return None
    return reader
