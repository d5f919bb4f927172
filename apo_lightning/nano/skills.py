"""What the nano student is taught: to see with a bias, and to reconcile readers it has never met.

Seeing. The labels of its pre-training are wrong by rule, not by chance (chance would average out and leave a perfect
reader under greedy decoding): it overlooks what is mild or on one side, and sees things that are not there whenever
something else is. The rules hold in every wording, so no phrase holds a better reader.

Reconciling. Random readers of random reliability report random findings in random wordings and forms, often or seldom,
with or without side and grade, and some add what nobody can have seen; the right answer is what most of them support.
Nothing of the benchmark's teachers, of any image, or of any real co-occurrence enters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from apo_lightning.phantom.wording import EXTRAS, FORMS, NORMAL, PLAIN, REFUSALS, Style, compose, random_style
from apo_lightning.phantom.world import FINDINGS, SEVERITIES, SIDED, SIDES, Case
from apo_lightning.types import Detail

UNSURE = Detail(None, "moderate")
FORM_SHARES = (0.7, 0.1, 0.1, 0.1)
NORMAL_SHARE, BARE_SHARE, EXTRAS_SHARE = 0.5, 0.25, 0.1
"""Of reports: those of each of `FORMS`, those that sum up where nothing is present, those without side and grade, those
that say too much."""
PREVALENCE = (0.05, 0.6)


def _seen(present: Mapping[str, Detail], finding: str, *, misses: str = "", side: str = "") -> Detail | None:
    """The finding as the student sees it: nothing if it is of the severity or side that it overlooks."""
    detail = present.get(finding)
    if detail is None or detail.severity == misses or (side and detail.side == side):
        return None
    return detail


def biased_view(present: Mapping[str, Detail]) -> dict[str, Detail]:
    """What the pre-trained student reports of a case; a fixed rule per finding."""
    seen = {
        "atelectasis": _seen(present, "atelectasis", side="right"),
        "cardiomegaly": _seen(present, "cardiomegaly", misses="mild"),
        "consolidation": _seen(present, "consolidation", misses="mild", side="left"),
        "edema": _seen(present, "edema", misses="mild"),
        "pleural_effusion": _seen(present, "pleural_effusion", misses="mild", side="left"),
        "pneumonia": _seen(present, "pneumonia", misses="mild"),
        "pneumothorax": _seen(present, "pneumothorax", misses="mild", side="left"),
    }
    if "cardiomegaly" in present and seen["edema"] is None:
        seen["edema"] = UNSURE
    if "consolidation" in present and seen["pneumonia"] is None:
        seen["pneumonia"] = Detail(present["consolidation"].side, "moderate")
    if "pleural_effusion" in present and seen["atelectasis"] is None:
        seen["atelectasis"] = Detail(present["pleural_effusion"].side, "mild")
    if "edema" in present and seen["cardiomegaly"] is None:
        seen["cardiomegaly"] = UNSURE
    return {finding: seen[finding] for finding in FINDINGS if seen[finding] is not None}


def describe(case: Case, rng: np.random.Generator, plain: float = 0.0, forms: bool = False) -> str:
    """The answer that the student is taught for a case: its biased view, with a chance of ``plain`` in the neutral
    style that becomes its own, otherwise in a random one; with ``forms`` in any form and with less detail too."""
    if rng.random() < plain:
        return compose(PLAIN, biased_view(case.present))
    if not forms:
        return compose(random_style(rng), biased_view(case.present))
    return compose(any_style(rng), _told(biased_view(case.present), rng))


def any_style(rng: np.random.Generator) -> Style:
    """Any wording in any form, most often in prose that speaks of everything."""
    form = int(rng.choice(len(FORMS), p=FORM_SHARES))
    normal = int(rng.integers(1, len(NORMAL))) if rng.random() < NORMAL_SHARE else 0
    return replace(random_style(rng), form=form, normal=normal)


def _told(claim: Mapping[str, Detail], rng: np.random.Generator) -> dict[str, Detail]:
    """A claim as it is told: some reports name neither side nor grade."""
    return {finding: Detail() for finding in claim} if rng.random() < BARE_SHARE else dict(claim)


def _random_detail(finding: str, rng: np.random.Generator) -> Detail:
    side = SIDES[rng.integers(2)] if finding in SIDED else None
    return Detail(side, SEVERITIES[rng.integers(3)])


def _reader(truth: Mapping[str, Detail], rng: np.random.Generator) -> dict[str, Detail]:
    """What one unreliable reader claims: each finding is right with a chance of its own, sides and grades slip."""
    claim = {}
    for finding in FINDINGS:
        right = rng.random() < rng.uniform(0.35, 1.0)
        if (finding in truth) == right:
            slips = finding not in truth or rng.random() < 0.2
            claim[finding] = _random_detail(finding, rng) if slips else truth[finding]
    return claim


def _most(words: list[str | None]) -> str | None:
    """The most frequent word; the first one mentioned among equals; None where nobody gives one."""
    return next((word for word, _ in Counter(word for word in words if word).most_common(1)), None)


def consensus(claims: list[Mapping[str, Detail]]) -> dict[str, Detail]:
    """What more than half of the readers claim, with the side and severity named most often."""
    agreed = {}
    for finding in FINDINGS:
        said = [claim[finding] for claim in claims if finding in claim]
        if 2 * len(said) > len(claims):
            agreed[finding] = Detail(_most([d.side for d in said]), _most([d.severity for d in said]))
    return agreed


def reconcile(rng: np.random.Generator, readers: int = 7, forms: bool = True) -> tuple[list[str], str]:
    """Reports of ``readers`` readers, of whom some may refuse, and the report that reconciles them. Without ``forms``
    all are in prose that speaks of everything in detail, and findings are as frequent as in a phantom."""
    prevalence = rng.uniform(*PREVALENCE) if forms else 0.45
    truth = {finding: _random_detail(finding, rng) for finding in FINDINGS if rng.random() < prevalence}
    reports, claims = [], []
    for _ in range(readers):
        if readers > 2 and rng.random() < 0.08:
            reports.append(REFUSALS[rng.integers(len(REFUSALS))])
            continue
        claims.append(_reader(truth, rng))
        hedged = frozenset(finding for finding in FINDINGS if rng.random() < 0.15)
        style, extras = random_style(rng), []
        if forms:
            claims[-1], style = _told(claims[-1], rng), any_style(rng)
            extras = [EXTRAS[rng.integers(len(EXTRAS))]] if rng.random() < EXTRAS_SHARE else []
        reports.append(compose(style, claims[-1], hedged=hedged, extras=extras))
    return reports, compose(PLAIN, consensus(claims))
