"""Teachers that are learned from token by token must have the student's tokens: by what ids mean, and by the ids of
the very texts that are taught."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apo_lightning.batching.collate import Collator
from apo_lightning.caches.log_probs import LogProbs
from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.models.student import Student
from apo_lightning.models.vocabularies import Vocabulary, difference
from apo_lightning.types import Branch, Example

WAY_OUT = (
    "Learn from its texts instead (stages.spd.loss: {name: spd_nll, reduction: token_mean}), leave it out with "
    "pool.select, or take a teacher with the student's tokenizer: its own base, a larger model of its family, or a "
    "saved student."
)
PROBE = "No pneumothorax. Small left pleural effusion."


def of_file(file: LogProbs) -> Vocabulary:
    """In whose tokens log-probs were recorded.

    Raises:
        ArtifactError: the file does not say.
    """
    try:
        return Vocabulary.from_facts(file.facts)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ArtifactError(f"{file.store.path} does not say whose tokens it has ({error!r}).") from error


def require_same_vocabulary(name: str, student: Any, teacher: Any | Vocabulary) -> None:
    """
    Args:
        name: of the teacher.
        student: processor.
        teacher: processor, or what is known of its tokens.

    Raises:
        ConfigError: they are not the same tokens; says what differs and the ways out.
    """
    own = teacher if isinstance(teacher, Vocabulary) else Vocabulary.of(teacher)
    if what := difference(Vocabulary.of(student), own):
        both = "" if teacher is own else f" '{PROBE}' is {_ids(teacher)} there and {_ids(student)} here."
        raise _refused(name, f"its tokenizer is not the student's: {what}.{both}")


def require_same_texts(name: str, collate: Collator, teacher: Student | LogProbs, examples: Iterable[Example]) -> None:
    """Look at the ids of every text of a teacher that is taught.

    Args:
        name: of the teacher.
        collate: of the student.
        teacher: its model, or what was recorded of it.
        examples: what the student is shown.

    Raises:
        ConfigError: a text has other ids, or nothing was recorded of it; counts them and names the first.
    """
    own = None if isinstance(teacher, LogProbs) else _Own(collate, teacher)
    taught = [(example, branch) for example in examples for branch in example.branches if branch.source == name]
    wrong = []
    for example, branch in taught:
        ids, study = collate.encode_answer(branch)[0], example.study.id
        what = teacher.difference(study, ids) if own is None else own.difference(study, branch, ids)
        wrong += [what] if what else []
    if not wrong:
        return
    said = f"{len(wrong):,} of its {len(taught):,} texts cannot be learned from token by token. The first: {wrong[0]}"
    if own is None:
        raise ConfigError(
            f"teachers.{name}: {said} Record them: apo collect EXPERIMENT. Texts that think are taught as they were "
            "recorded with thinking.taught=true alone."
        )
    raise _refused(name, said)


class _Own:
    """The ids that a teacher's own tokenizer makes of a text, with the student's limits."""

    def __init__(self, collate: Collator, teacher: Student) -> None:
        self.collate = Collator(
            teacher.processor,
            prompt=collate.prompt,
            findings=collate.findings,
            max_prompt_tokens=collate.max_prompt_tokens,
            max_branch_tokens=collate.max_branch_tokens,
            max_context_tokens=collate.max_prompt_tokens,
        )

    def difference(self, study: str, branch: Branch, ids: list[int]) -> str | None:
        own = self.collate.encode_answer(branch)[0]
        if own == ids:
            return None
        same = min(len(own), len(ids))
        at = next((i for i in range(same) if own[i] != ids[i]), same)
        there, here = (x[at] if at < len(x) else "no more" for x in (own, ids))
        return f"that of study '{study}' has token {there} at place {at} there and {here} here."


def _ids(processor: Any) -> list[int]:
    return processor.tokenizer(PROBE, add_special_tokens=False)["input_ids"]


def _refused(name: str, what: str) -> ConfigError:
    return ConfigError(f"teachers.{name} gives no log-probs that this student can learn from: {what} {WAY_OUT}")
