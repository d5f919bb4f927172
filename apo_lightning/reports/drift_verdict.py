"""The first sentence on drift: whether learning from these texts is likely to pay, and what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

VOTE, PREFERRED = "SFT on the majority vote", "SFT on t+"
NAMES = {VOTE: "fine-tuning on the teachers' majority vote", PREFERRED: "fine-tuning on t+"}
T_PLUS = "t+ (the text that the student writes after it has read all teachers)"
ANSWERS = {"gained": "yes", "open": "perhaps", "lost": "no"}


def verdict(record: Mapping[str, Any]) -> Iterator[str]:
    """One plain sentence or two, of a record that has limits: yes, perhaps or no, what is likely to pay, and why."""
    found = record["limits"] if record.get("limits") and record.get("summary") else {}
    ways = {way["way"]: way["verdict"] for way in found.get("ways", ()) if way["verdict"]}
    if PREFERRED not in ways:
        return
    by_vote = found.get("by") == "vote"
    if by_vote:
        answer, why = ANSWERS[ways[PREFERRED]], _lead(record)
    else:
        answer = "no" if ways[PREFERRED] == "lost" else "perhaps"
        why = _unknown(record, answer)
    yield f"Is it worth training on {T_PLUS}? {answer.capitalize()}: {why}. {_pays(ways, by_vote)}."


def _pays(ways: Mapping[str, str], by_vote: bool) -> str:
    likely = [name for name in (VOTE, PREFERRED) if ways.get(name) == "gained"] if by_vote else []
    if likely:
        return f"Likely to pay: {NAMES[likely[0]]}"
    open_ = [name for name in (VOTE, PREFERRED) if ways.get(name) not in (None, "lost")]
    if open_:
        return f"Most likely to pay, though nothing is sure: {NAMES[open_[0]]}"
    return "Nothing that was tried is likely to pay"


def _lead(record: Mapping[str, Any]) -> str:
    lead = 100 * (record["summary"]["vote_accuracy"] - record["limits"]["student_accuracy"])
    return (
        f"their vote is right {abs(lead):.0f} points {'less' if lead < 0 else 'more'} often than the student before "
        f"training, where learning t+ paid from about {_from(record['limits']['ways'], PREFERRED)} points on and "
        f"learning the vote from about {_from(record['limits']['ways'], VOTE)}"
    )


def _from(ways: Sequence[Mapping[str, Any]], name: str) -> str:
    return f"{100 * next(way['margin']['value'] for way in ways if way['way'] == name):.0f}"


def _unknown(record: Mapping[str, Any], answer: str) -> str:
    if answer == "no":
        return "the teachers contradict each other more than where learning t+ ever paid"
    if record["summary"].get("vote_accuracy") is None:
        return "without labels nobody can tell whether teachers who agree are right"
    vote = record["summary"]["vote_accuracy"]
    return f"the vote is right in {vote:.0%}, and how often the student is right before training is not known"
