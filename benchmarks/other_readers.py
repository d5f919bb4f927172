"""Readers of others, where they can be imported: each takes a text and gives the findings that it reads as present.

What is no labeler of chest findings by itself is completed: names of findings from published lists, negation from the
package. Uncertain counts as present for all.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from open_i_headings import TERMS

from apo_lightning.metrics.labelers import LABELERS

Present = frozenset[str]
Made = tuple[tuple[str, ...], Callable[[str], Present]] | str
"""The findings that a reader knows and the reader, or why it is not here."""
OURS = {
    "airspace_opacity": "lung_opacity",
    "hiatus_hernia": "hernia",
    "pulmonary_edema": "edema",
    "pulmonary_fibrosis": "fibrosis",
    "fracture_generic": "fracture",
}
NOT_ENLARGED = [
    "normal",
    "within normal limits",
    "unremarkable",
    "normal in size",
    "not enlarged",
    "stable",
    "unchanged",
]
"""CheXpert's patterns deny a heart that is called normal; NegEx does not know the word."""


def _negex(names: Mapping[str, Sequence[str]], parts: bool) -> Callable[[str], Present]:
    """NegEx by negspacy over the names of findings; a name is a part of words where ``parts``."""
    import spacy
    from negspacy.termsets import termset

    importlib.import_module("negspacy.negation")  # registers itself with spaCy
    own = termset("en_clinical")
    own.add_patterns({"following_negations": NOT_ENLARGED, "preceding_negations": ["normal"]})
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("negex", config={"neg_termset": own.get_patterns()})
    edge = "" if parts else r"\b"
    patterns = {
        name: re.compile("|".join(rf"{edge}{re.escape(word.replace('_', ' '))}{edge}" for word in words if word), re.I)
        for name, words in names.items()
    }

    def read(text: str) -> Present:
        doc = nlp.make_doc(text)
        doc = nlp.get_pipe("sentencizer")(doc)
        found = set()
        for name, pattern in patterns.items():
            spans = [doc.char_span(*m.span(), label=name, alignment_mode="expand") for m in pattern.finditer(text)]
            doc.set_ents(spacy.util.filter_spans([span for span in spans if span is not None]))
            if any(not span._.negex for span in nlp.get_pipe("negex")(doc).ents):
                found.add(name)
        return frozenset(found)

    return read


def chexpert(phrases: Path | None) -> Made:
    """CheXpert's published mention phrases with NegEx in place of NegBio, whose parser's weights are not on PyPI."""
    if phrases is None:
        return "no --phrases"
    if importlib.util.find_spec("negspacy") is None:
        return "negspacy is not installed"
    names = {OURS.get(file.stem, file.stem): file.read_text().split("\n") for file in sorted(phrases.glob("*.txt"))}
    names = {name: [word for word in words if word.strip()] for name, words in names.items() if name in TERMS}
    return tuple(names), _negex(names, parts=True)


def radlabels(_: Path | None) -> Made:
    """The aliases of radlabels (MIT) with NegEx in place of RadGraph-XL, whose weights are not on PyPI."""
    spec = importlib.util.find_spec("radlabels")
    if spec is None or importlib.util.find_spec("negspacy") is None:
        return "radlabels or negspacy is not installed"
    file = importlib.util.spec_from_file_location("aliases", Path(spec.origin or "").parent / "aliases.py")
    if file is None or file.loader is None:
        return "radlabels has no aliases.py"
    module = importlib.util.module_from_spec(file)
    file.loader.exec_module(module)
    names = {OURS.get(name, name): entry["aliases"] for name, entry in module.ALIASES.items()}
    names = {name: words for name, words in names.items() if name in TERMS}
    return tuple(names), _negex(names, parts=False)


def radreport(_: Path | None) -> Made:
    """Its detector of critical findings, which knows three of ours."""
    if importlib.util.find_spec("radreport") is None:
        return "radreport is not installed"
    from radreport import CriticalFindingsDetector, ReportParser

    parser, detector = ReportParser(), CriticalFindingsDetector()
    known = {"pneumothorax": "pneumothorax", "pulmonary edema": "edema", "consolidation": "consolidation"}

    def read(text: str) -> Present:
        found = detector.detect(parser.parse(text)).critical_findings
        return frozenset(known[f.term] for f in found if f.term in known and not f.negated)

    return tuple(known.values()), read


def _labeler(name: str) -> Callable[[Path | None], Made]:
    def make(_: Path | None) -> Made:
        labeler = LABELERS.lookup(name)()
        lacking = labeler.lacking()
        if lacking:
            return lacking
        known = tuple(TERMS) if labeler.findings is None else labeler.findings

        def read(text: str) -> Present:
            values = labeler.read([text], known)[0]
            return frozenset(n for n, v in zip(known, values, strict=True) if not math.isnan(v) and v == 1)

        return known, read

    return make


OTHERS: dict[str, Callable[[Path | None], Made]] = {
    "CheXpert's phrases, NegEx": chexpert,
    "radlabels' aliases, NegEx": radlabels,
    "radreport": radreport,
    "CheXbert": _labeler("chexbert"),
    "RadGraph": _labeler("radgraph"),
}
