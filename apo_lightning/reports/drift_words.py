"""What `drift.json` says, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from apo_lightning.drift.limits import TEACHERS
from apo_lightning.reports.drift_tables import cell_text, mean_of
from apo_lightning.reports.drift_verdict import verdict

LEVEL = 0.05
NEAR = 0.9
"""Area from which on style is said to be enough."""
ANOTHER = (
    "They are those of two small students, which differ: at a lead of 21 points SFT on t+ gained one half as much as "
    "the other, and SFT on the vote both alike."
)
"""docs/results/critique, on another student."""


def sentences(record: Mapping[str, Any]) -> Iterator[str]:
    """What a reader wants to know first: whether it is worth training on, how much that rests on, and the figures."""
    yield from verdict(record)
    yield _size(record)
    kappa, apart = mean_of(record["agreement"], "fleiss"), mean_of(record["agreement"], "agreement")
    if apart["value"] is not None:
        said = f" Fleiss' kappa is {cell_text(kappa)}, mean over findings." if kappa["low"] is not None else ""
        against = 1 - apart["value"]
        yield f"Two teachers that speak of the same finding contradict each other in {against:.0%} of cases.{said}"
    yield from _voted(record)
    yield from _limits(record)
    yield from _moves(record)
    yield from _stream(record)
    yield from _dependent(record)
    yield from _styled(record)
    yield from _pruned(record)
    found = record["conflict"]
    if found["scored"]:
        beyond, limit = found["beyond"]["studies"], found["thresholds"]["studies"]
        have = "has" if beyond == 1 else "have"
        yield (
            f"{beyond} of {found['scored']} studies {have} a conflict score above {limit:g}: of two teachers and a "
            "finding that both state, more than that share contradict each other."
        )


def _voted(record: Mapping[str, Any]) -> Iterator[str]:
    """What their vote is worth, of a record that knows it."""
    found = record.get("summary") or {}
    if found.get("vote_expected_accuracy") is None or found.get("divided") is None:
        return
    really = found.get("vote_accuracy")
    yield (
        f"They are divided over {found['divided']:.0%} of the findings that two or more of them speak of "
        f"({found['vote_entropy']:.2f} bits a vote). As often as they agree, their vote would be right in "
        f"{found['vote_expected_accuracy']:.0%} of cases if they erred independently of each other"
        + ("." if really is None else f"; by the labels it is in {really:.0%}.")
    )


def _limits(record: Mapping[str, Any]) -> Iterator[str]:
    """Whether learning from these texts is likely to pay, of a record that says so."""
    found = record["limits"] if record.get("limits") and record.get("summary") else {}
    sides: dict[str, list[str]] = {}
    by_vote = found.get("by") == "vote"
    for way in (way for way in found.get("ways", ()) if way["verdict"]):
        sides.setdefault(way["verdict"], []).append(_limit(way, by_vote))
    if not sides:
        return
    below = "these paid" if by_vote else "these are not ruled out, which promises nothing"
    said = {"lost": "these made the student worse", "open": "these were not settled", "gained": below}
    told = "; ".join(f"{words}: {', '.join(sides[verdict])}" for verdict, words in said.items() if verdict in sides)
    yield f"{_here(record, by_vote)}, in the study of the critique (docs/results/critique, balanced accuracy) {told}."
    yield ANOTHER
    if (count := len(record["teachers"])) != TEACHERS:
        yield f"Those limits are of {TEACHERS} simulated teachers; here are {count}."
    if not by_vote:
        yield _unknown(record["summary"].get("vote_accuracy"), found["student_accuracy"])


def _here(record: Mapping[str, Any], by_vote: bool) -> str:
    summary = record["summary"]
    if not by_vote:
        return f"At a mean conflict score of {summary['conflict_mean']:.2f}"
    lead = 100 * (summary["vote_accuracy"] - record["limits"]["student_accuracy"])
    often = f"{abs(lead):.0f} points {'less' if lead < 0 else 'more'} often right than the student before training"
    return f"With a vote that is {often} (on {_count(record['labelled'], 'labelled study', 'labelled studies')})"


def _limit(way: Mapping[str, Any], by_vote: bool) -> str:
    own, scale = (way["margin"], 100) if by_vote else (way["conflict"], 1)
    value, low, high = (f"{scale * own[name]:.{0 if by_vote else 2}f}" for name in ("value", "low", "high"))
    return f"{way['way']} ({'from' if by_vote else 'up to'} {value} [{low}, {high}])"


def _unknown(vote: float | None, student: float | None) -> str:
    """What conflict cannot tell, and what is missing to tell it."""
    blind = "Teachers who err together agree and are wrong, and no conflict shows it"
    if vote is None:
        unused = "" if student is None else " --student-accuracy was not used, since there are none."
        return f"{blind}: labels would.{unused}"
    return f"{blind}: the vote is right in {vote:.0%} here; --student-accuracy compares that with the student."


def _all_of(number: int, what: str) -> str:
    return f"the one {what}" if number == 1 else f"any of {number} {what}s"


def _count(number: int, what: str, several: str) -> str:
    return f"{number:,} {what if number == 1 else several}"


def _size(record: Mapping[str, Any]) -> str:
    texts = sum(sum(kinds.values()) for kinds in record["kinds"].values())
    labelled = f", {record['labelled']:,} of them with labels" if record["labelled"] else ", without labels"
    part = f" {record['part']}" if record.get("part") else ""
    return (
        f"{len(record['teachers'])} teachers, {texts:,} texts on {_count(record['studies'], 'study', 'studies')} of "
        f"{_count(record['patients'], 'patient', 'patients')}{labelled}.{part}"
    )


def _moves(record: Mapping[str, Any]) -> Iterator[str]:
    """What rises or falls along the texts, as far as the intervals tell."""
    found = record["steps"]
    yield from _moved(
        found["statements"]["position"]["conflict"], "conflict over what two teachers have stated", 100, " points"
    )
    if found["divergence"]:
        own, scorer = found["divergence"]["position"], found["divergence"]["scorer"]
        what = f"divergence of their next words under {scorer}, beyond that of a teacher from itself,"
        yield from _moved(own["excess"] if "rise" in own["excess"] else own, what, 1, " bits")
    if found["embedding"]:
        yield from _moved(found["embedding"]["position"], "cosine distance of their sentences", 1, "")
    slopes = {name: one for name, one in (found["slopes"] or {}).items() if _apart_from_0(one)}
    for word, sign in (("more", 1), ("less", -1)):
        named = [f"{name} ({_points(one)})" for name, one in slopes.items() if one["value"] * sign > 0]
        if named:
            yield f"Errs {word} towards the end of its texts: {', '.join(named)}."


def _stream(record: Mapping[str, Any]) -> Iterator[str]:
    streams = (record["stream"] or {"streams": {}})["streams"]
    tested = {name: one for name, one in streams.items() if one["p"] is not None}
    changed = [f"{name} at {_places(one)}" for name, one in tested.items() if one["places"]]
    if changed:
        yield f"Along the stream of studies there are changes: {'; '.join(changed)}."
    elif tested:
        yield f"Along the stream of studies no change is to be seen, in {_all_of(len(tested), 'stream')}."
    elif streams:
        yield "The stream is too short to look for changes."


def _places(one: Mapping[str, Any]) -> str:
    return ", ".join(f"{place:.2f}" for place in one["places"])


def _dependent(record: Mapping[str, Any]) -> Iterator[str]:
    """Whether the paper's assumption holds, as far as a test tells."""
    tested = [one for one in record["independence"] or () if one["holm"] is not None]
    if not tested:
        return
    found = [one for one in tested if one["holm"] < LEVEL]
    if not found:
        pairs = _all_of(len(tested), "pair")
        yield f"That teachers err independently given the truth is not refuted, for {pairs}."
        return
    worst = sorted(found, key=lambda one: -abs(one["correlation"]))[:3]
    named = "; ".join(f"{' and '.join(one['teachers'])} ({one['correlation']:+.2f})" for one in worst)
    yield (
        f"{len(found)} of {len(tested)} pairs of teachers do not err independently given the truth, as the paper "
        f"assumes; correlation of errors: {named}."
    )


def _styled(record: Mapping[str, Any]) -> Iterator[str]:
    """Whether a preference loss could be satisfied by style alone."""
    found = record["style"]
    if not found:
        return
    known = {name: area for name, area in (found["preferred"] or {}).items() if area is not None}
    if known:
        least = min(known, key=known.__getitem__)
        yield (
            f"By style alone, without findings, t+ is told from each teacher with an area under the ROC curve of at "
            f"least {known[least]:.2f} ({least})"
            + (": a preference loss can be satisfied without a word on what is right." if known[least] > NEAR else ".")
        )
    areas = [pair["area"] for pair in found["pairs"] if pair["area"] is not None]
    if areas:
        low, high = f"{min(areas):.2f}", f"{max(areas):.2f}"
        spread = low if low == high else f"{low} to {high}"
        yield f"Teachers are told from each other by style with an area under the ROC curve of {spread}."


def _pruned(record: Mapping[str, Any]) -> Iterator[str]:
    found = record.get("pruning")
    if not found or not found["cheapest"]:
        return
    kept, whole, by = found["cheapest"], found["whole"], found["by"]
    saved = 1 - kept["cost"][by] / whole["cost"][by] if whole["cost"][by] else 0.0
    yield (
        f"Cheapest teachers whose vote loses at most {found['loss']:g} on these {found['on']}: "
        f"{', '.join(kept['teachers'])} ({saved:.0%} of {by} saved; the vote {_lost(kept['lost'])})."
    )


def _lost(one: Mapping[str, Any]) -> str:
    """A loss below 0 is a gain."""
    if (one["value"] or 0.0) >= 0:
        return f"loses {cell_text(one, 3)}"
    low, high = (None if one[key] is None else -one[key] for key in ("high", "low"))
    return f"gains {cell_text({'value': -one['value'], 'low': low, 'high': high}, 3)}"


def _moved(line: Mapping[str, Any], what: str, scale: float, unit: str) -> Iterator[str]:
    known = [value for value in line["mean"] if value is not None]
    rise = line["rise"]
    if len(known) < 2 or rise["value"] is None:
        return
    digits = 0 if scale == 100 else 2
    spread = ""
    if rise["low"] is not None:
        low, high = (_rounded(scale * rise[key], digits) for key in ("low", "high"))
        spread = f" [{low:.{digits}f}, {high:.{digits}f}]"
    moves = rise["low"] is None or _apart_from_0(rise)
    word = "does not move" if not moves else "rises" if rise["value"] > 0 else "falls"
    change = f"{_rounded(scale * rise['value'], digits):+.{digits}f}{spread}{unit}"
    yield f"From the first third of the texts to the last the {what} {word} ({change})."


def _rounded(value: float, digits: int) -> float:
    """Without a minus before a 0."""
    return round(value, digits) + 0.0


def _apart_from_0(one: Mapping[str, Any]) -> bool:
    return one["low"] is not None and (one["low"] > 0 or one["high"] < 0)


def _points(one: Mapping[str, Any]) -> str:
    return f"{one['value']:+.2f} [{one['low']:.2f}, {one['high']:.2f}]"
