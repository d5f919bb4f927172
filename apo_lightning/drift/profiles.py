"""What each teacher is like: how often it refuses, hedges and errs, on which side, how long it speaks, how like others.

The paper's Figure 1a prints precision, recall and similarity of every source and defines none of them. Here precision
and recall are those of findings said to be present, against labels (or against what a report states, where the truth of
the `Corpus` was read from one), and similarity is the share of what a teacher and another one both state on which they
do not contradict each other, over all others.

Of all texts of a teacher:

- ``refused``, ``nothing``, ``normal``: share of texts that decline, state nothing, call the film normal;
- ``words``: mean length; ``missing``: share of studies without a text.

By finding:

- ``stated``: share of texts that state it;
- ``hedged``: of findings said to be present, how many are said with doubt;
- ``similarity``: see above.

By finding, where there is a truth:

- ``precision``, ``recall``: a text that does not say a finding is present has missed it, a refusal too;
- ``error``: share of statements that are wrong; ``missed`` of findings that are there, ``invented`` of those that are
  not;
- ``wrong_side``: of findings rightly said to be present with a side, how many lie elsewhere.
"""

from __future__ import annotations

import numpy as np

from apo_lightning.drift.conflict import contradictions
from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.measured import Block, Measured, intervals, shared
from apo_lightning.metrics.bootstrap import RESAMPLES, Interval, Name
from apo_lightning.text.labeler import KINDS


def profiles(corpus: Corpus, resamples: int = RESAMPLES) -> dict[str, dict[Name, Interval]]:
    """Teacher to (measure, finding or ``mean``) to its value with the interval over patients."""
    return {name: intervals(measured(corpus, i), resamples) for i, name in enumerate(corpus.teachers)}


def measured(corpus: Corpus, teacher: int) -> Measured:
    """Of one teacher by its place, to be resampled with anything else."""
    blocks = {**_texts(corpus, teacher), **_statements(corpus, teacher), **_against_truth(corpus, teacher)}
    return Measured.of(corpus.patients, corpus.findings, blocks)


def _texts(corpus: Corpus, teacher: int) -> dict[str, Block]:
    present, kind = corpus.present[:, teacher], corpus.kind[:, teacher]
    return {
        **{name: shared(kind == KINDS.index(name), present) for name in ("refused", "nothing", "normal")},
        "missing": shared(~present, np.ones(len(present))),
        "words": shared(corpus.lengths[:, teacher], present),
    }


def _statements(corpus: Corpus, teacher: int) -> dict[str, Block]:
    said = corpus.said[:, teacher]
    others = [contradictions(corpus, teacher, j) for j in range(len(corpus.teachers)) if j != teacher]
    none = np.zeros(said.shape)
    both, against = (sum((getattr(one, name) for one in others), none) for name in ("both", "any"))
    return {
        "stated": shared(~np.isnan(said), np.broadcast_to(corpus.present[:, [teacher]], said.shape)),
        "hedged": shared((said == 1) & corpus.hedged[:, teacher], said == 1),
        "similarity": shared(both - against, both),
    }


def _against_truth(corpus: Corpus, teacher: int) -> dict[str, Block]:
    if corpus.truth is None:
        return {}
    said, truth, read = corpus.said[:, teacher], corpus.truth, corpus.present[:, [teacher]]
    known = ~np.isnan(truth) & ~np.isnan(said)
    wrong, hit = known & (said != truth), (said == 1) & (truth == 1)
    found = {
        "precision": shared(hit, known & (said == 1)),
        "recall": shared(hit, read & (truth == 1)),
        "error": shared(wrong, known),
        "missed": shared(wrong & (truth == 1), known & (truth == 1)),
        "invented": shared(wrong & (truth == 0), known & (truth == 0)),
    }
    if corpus.true_sides is None:
        return found
    side = corpus.sides[:, teacher]
    placed = hit & (side > 0) & (corpus.true_sides > 0)
    return {**found, "wrong_side": shared(placed & (side != corpus.true_sides), placed)}
