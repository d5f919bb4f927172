"""Backend ``coco``: BLEU-1..4, ROUGE-L, METEOR and CIDEr of pycocoevalcap, as R2Gen and its followers print them.

Equal to the package's own values. ROUGE-L and CIDEr are means over studies, BLEU and METEOR are made of sums over them.
CIDEr's document frequencies are those of all references, and a resample keeps them: its interval says what other
patients would give, not what another reference set would. CIDEr is 0 for a single study.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from apo_lightning.metrics.report_text import TEXT_METRICS, bleu
from apo_lightning.metrics.report_text.base import Pairs, Tally, TextMetric, means
from apo_lightning.metrics.report_text.java import LineServer, failed, lacks_java, one_line, run_once
from apo_lightning.metrics.report_text.lcs import lcs_length
from apo_lightning.metrics.report_text.meteor import WIDTH, added, meteor
from apo_lightning.metrics.report_text.r2gen import cleaned

METEOR, PTB = "meteor/meteor-1.5.jar", "tokenizer/stanford-corenlp-3.4.1.jar"
BETA = 1.2
"""pycocoevalcap's ROUGE-L leans to recall by it; rouge-score's F1 does not."""
UTF8 = "-Dfile.encoding=UTF-8"
"""Else Java reads in the locale's encoding, and values would depend on the shell."""


@TEXT_METRICS.register("coco")
class Coco(TextMetric):
    """BLEU, ROUGE-L, METEOR and CIDEr of pycocoevalcap, as R2Gen has them; needs Java."""

    def lacking(self) -> str:
        """Also looks for the two archives that the package brings along."""
        if importlib.util.find_spec("pycocoevalcap") is None:
            what = "the package pycocoevalcap is not installed (pip install 'apo-lightning[java]')"
        elif lost := next((name for name in (METEOR, PTB) if not (folder() / name).is_file()), ""):
            what = f"{folder() / lost} is not there (pip install --force-reinstall pycocoevalcap)"
        elif java := lacks_java():
            what = f"{java} (METEOR needs Java 8 or later, for example apt install default-jre-headless)"
        else:
            return ""
        return (
            f"evaluate.report_text.backend is coco, and {what}. Install it, or take backend=python, whose values are "
            "not comparable with it."
        )

    def words(self) -> str:
        how = {"r2gen": "reports cleaned as R2Gen does", "ptb": "words of the Penn Treebank tokenizer"}
        return f"BLEU, ROUGE-L, METEOR 1.5 and CIDEr by pycocoevalcap ({how[self.settings.tokenizer]})."

    def measure(self, pairs: Pairs) -> list[Tally]:
        cut = {"r2gen": lambda texts: [cleaned(text) for text in texts], "ptb": ptb}[self.settings.tokenizer]
        words = cut([*pairs.candidates, *pairs.references])
        candidates, references = words[: len(pairs)], words[len(pairs) :]
        scores = {"coco:rouge_l": list(map(rouge_l, candidates, references))}
        scores["coco:cider"] = cider(candidates, references)
        return [bleu_counts(candidates, references), means(scores), meteor_counts(candidates, references)]


def folder() -> Path:
    """Where pycocoevalcap lies."""
    spec = importlib.util.find_spec("pycocoevalcap")
    return Path(next(iter(spec.submodule_search_locations or ()))) if spec else Path()


def ptb(texts: Sequence[str]) -> list[str]:
    """Lower-case words of Stanford's tokenizer without the signs that pycocoevalcap drops; an empty one stays empty."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

    program = ["-cp", Path(PTB).name, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    plain = [one_line(text) for text in texts]
    lines = run_once([UTF8, *program, "-encoding", "utf-8"], plain, (folder() / PTB).parent)
    return [" ".join(word for word in line.split() if word not in PUNCTUATIONS) for line in lines]


def bleu_counts(candidates: Sequence[str], references: Sequence[str]) -> Tally:
    """Counted by pycocoevalcap's own n-grams."""
    from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test

    rows = []
    for candidate, reference in zip(candidates, references, strict=True):
        found = cook_test(candidate, cook_refs([reference]))
        rows.append([*found["correct"], *found["guess"], found["testlen"], found["reflen"][0]])
    return Tally(np.array(rows, float).reshape(-1, bleu.WIDTH), bleu.coco)


def rouge_l(candidate: str, reference: str) -> float:
    """As `pycocoevalcap.rouge.rouge.Rouge.calc_score`; an empty text is one empty word there."""
    said, wanted = candidate.split(" "), reference.split(" ")
    common = lcs_length(said, wanted)
    precision, recall = common / len(said), common / len(wanted)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision) if common else 0.0


def cider(candidates: Sequence[str], references: Sequence[str]) -> list[float]:
    """A score per study, by pycocoevalcap's scorer: document frequencies are of all ``references``."""
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    scorer = CiderScorer()
    for candidate, reference in zip(candidates, references, strict=True):
        scorer += (candidate, [reference])
    return [float(score) for score in scorer.compute_score()[1]]


def meteor_counts(candidates: Sequence[str], references: Sequence[str]) -> Tally:
    """What METEOR's Java program counts of each pair."""
    asked = [f"SCORE ||| {_safe(two)} ||| {_safe(one)}" for one, two in zip(candidates, references, strict=True)]
    answers = _server().ask(asked)
    try:
        counts = np.array([answer.split() for answer in answers], float).reshape(len(answers), WIDTH)
    except ValueError as error:
        raise failed(_server().command, f"answered {answers[0][:80]!r}") from error
    return Tally(added(counts), lambda sums: {"coco:meteor": meteor(sums)})


def _safe(words: str) -> str:
    """One line without the sign that parts a line of METEOR's protocol."""
    return one_line(words.replace("|||", ""))


@functools.cache
def _server() -> LineServer:
    program = ["-jar", Path(METEOR).name, "-", "-", "-stdio", "-l", "en", "-norm"]
    return LineServer([UTF8, "-Xmx2G", *program], (folder() / METEOR).parent)
