"""Where one text contradicts another in the findings that both state.

Two statements of a finding conflict if one says present and the other absent, or if both say present, one on the left
and the other on the right. What is not stated contradicts nothing, and "bilateral" contradicts neither side: it agrees
with each about the side that is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from apo_lightning.text.labeler import Sentence, sentences, stated
from apo_lightning.types import Votes

Stated = tuple[float, str | None]
"""What is said of a finding: 1 present or 0 absent, and the side if one is named (of an absent one: the only one)."""


def conflicting_spans(text: str, preferred: str, findings: Sequence[str]) -> list[tuple[int, int]]:
    """Sentences of ``text`` that contradict ``preferred``, as ``(start, end)`` character positions in ``text``.

    ``preferred`` is read as a whole (its later sentences win), ``text`` sentence by sentence, so that a wrong sentence
    counts although a later one takes it back. A sentence counts whole, whatever else it says. A refusal states nothing.

    >>> text = "Left effusion. No edema."
    >>> [text[slice(*span)] for span in conflicting_spans(text, "Effusion, edema.", ["edema", "pleural_effusion"])]
    ['No edema.']
    """
    wanted = statements(preferred, findings)
    return [(said.start, said.end) for said in sentences(text, findings) if contradicts(said, wanted)]


def conflicting_findings(text: str, preferred: str, findings: Sequence[str]) -> list[str]:
    """Findings in which a sentence of ``text`` contradicts ``preferred``, each once; texts are read as in
    `conflicting_spans`.

    >>> conflicting_findings("Left effusion. No edema, no effusion.", "Effusion, edema.", ["edema", "pleural_effusion"])
    ['edema', 'pleural_effusion']
    """
    wanted = statements(preferred, findings)
    return list(dict.fromkeys(name for said in sentences(text, findings) for name in contradicted(said, wanted)))


def votes(text: str, others: Sequence[Mapping[str, Stated]], findings: Sequence[str]) -> list[Votes]:
    """What other texts, each as read by `statements`, say of each sentence of ``text`` that states one of ``findings``.

    A text is against a sentence if it contradicts it in one finding, whatever it says of others.

    >>> others = [statements(text, ["edema"]) for text in ("Edema.", "No edema.", "Chest film.")]
    >>> votes("No edema. Chest film.", others, ["edema"])
    [Votes(start=0, end=9, against=1, judged=2)]
    """
    found = []
    for said in sentences(text, findings):
        if not any(name in findings for name in said.values):
            continue
        judging = [other for other in others if any(name in other for name in said.values)]
        against = sum(contradicts(said, other) for other in judging)
        found.append(Votes(said.start, said.end, against, len(judging)))
    return found


def contradicts(said: Sentence, wanted: Mapping[str, Stated]) -> bool:
    """Whether a sentence contradicts what a whole text states (`statements`) in some finding."""
    return bool(contradicted(said, wanted))


def contradicted(said: Sentence, wanted: Mapping[str, Stated]) -> list[str]:
    """Findings in which it does."""
    common = [name for name in said.values if name in wanted]
    return [name for name in common if in_conflict(statement_of(said, name), wanted[name])]


def agreement(text: str, preferred: str, findings: Sequence[str]) -> float:
    """Share in [0, 1] of the findings stated by both texts on which they do not conflict.

    0 where they have no finding in common: a text that shows no agreement ranks behind those that show some.

    >>> agreement("Left effusion. No edema.", "Effusion, edema.", ["edema", "pleural_effusion", "pneumonia"])
    0.5
    """
    ours, theirs = statements(text, findings), statements(preferred, findings)
    common = [name for name in ours if name in theirs]
    kept = [name for name in common if not in_conflict(ours[name], theirs[name])]
    return len(kept) / len(common) if common else 0.0


def most_agreed(texts: Sequence[str], findings: Sequence[str], as_read: Callable[[str], str] = str) -> str:
    """The text that agrees best with the others in what they state: the first of equals, the text itself if alone.

    Minimum Bayes risk under `agreement`, a self-consistency (arXiv 2203.11171) over whole reports. A text that states
    nothing agrees with nothing. ``as_read`` makes of a text what findings are read from.
    """
    read = [as_read(text) for text in texts]
    scores = [
        sum(agreement(text, other, findings) for j, other in enumerate(read) if j != i) for i, text in enumerate(read)
    ]
    return texts[scores.index(max(scores))]


def statements(text: str, findings: Sequence[str]) -> dict[str, Stated]:
    """What a whole text states, of ``findings`` only."""
    found = sentences(text, findings)
    last = {name: value for name, value in stated(found).items() if name in findings}
    side: dict[str, str] = {}
    for sentence in found:
        side |= {
            name: named
            for name in sentence.values
            if (named := statement_of(sentence, name)[1]) and _same(sentence, name, last)
        }
    return {name: (value, side.get(name)) for name, value in last.items()}


def _same(sentence: Sentence, name: str, last: Mapping[str, float]) -> bool:
    return sentence.values[name] == last.get(name)


def statement_of(sentence: Sentence, name: str) -> Stated:
    """What one sentence states of a finding that is among its values."""
    value = sentence.values[name]
    return value, (sentence.sides if value == 1 else sentence.denied_sides).get(name)


def in_conflict(one: Stated, other: Stated) -> bool:
    """Whether two statements of one finding contradict each other."""
    (value, side), (other_value, other_side) = one, other
    if value == other_value:
        return value == 1 and {side, other_side} == {"left", "right"}
    denied, present = (side, other_side) if value == 0 else (other_side, side)
    return denied is None or present in (denied, "bilateral")
