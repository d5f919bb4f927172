"""Lets an open model write: one text a study, kept as soon as its batch is written, and never written twice; with
``log_probs`` also how likely each token was to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from apo_lightning.console import Console
from apo_lightning.files import atomic, jsonlines, locks
from apo_lightning.recording.asking import Asking, Images, reads_reports
from apo_lightning.teachers.hf import Hf
from apo_lightning.trajectories import records
from apo_lightning.types import Study

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Written:
    """What became of the studies that a model was asked about.

    Attributes:
        asked: studies in all.
        kept: of these the ones whose text was there already.
        written: those that were written now.
        cut: texts that ran into ``decoding.max_new_tokens``, of those written now.
        empty: texts without a word, of those written now.
        without_report: studies that have no report, where the prompt shows one; they are not asked.
        recorded: texts whose log-probs were recorded now, of earlier texts too; ``tokens``: of these.
    """

    asked: int
    kept: int = 0
    written: int = 0
    cut: int = 0
    empty: int = 0
    without_report: int = 0
    recorded: int = 0
    tokens: int = 0


def write_texts(
    teacher: Hf,
    studies: Sequence[Study],
    images: Images,
    *,
    findings: Sequence[str],
    prompt: str,
    told: Callable[[Written], None] = lambda written: None,
) -> Written:
    """Let ``teacher`` write about every study that its file has no text of, and record the log-probs that are missing,
    batch by batch, each kept at once. Two that do so at a time wait for each other.

    Args:
        teacher: of the kind ``hf``.
        studies: each once.
        images: opens those of a study.
        findings: what the prompt lists.
        prompt: the experiment's, for a teacher that names none.
        told: is called after each batch.

    Raises:
        ConfigError: the model or the prompt does not fit.
        DataError: the file of texts is malformed, or an image cannot be read.
        ArtifactError: the file of log-probs is damaged, or of another model or prompt.
    """
    name = teacher.prompt or prompt
    asking = Asking(teacher, name, findings, images)
    with locks.held(Path(f"{teacher.path}.lock"), f"teachers.{teacher.name}", Console(stderr=True).print):
        done = _texts(teacher)
        asked = _askable(name, studies)
        left = [study for study in asked if study.id not in done or _lacks(asking, study, done[study.id])]
        counts = Written(len(studies), sum(s.id in done for s in asked), without_report=len(studies) - len(asked))
        for batch in _batches(left, teacher.batch_studies):
            counts = _one_batch(asking, batch, done, counts)
            told(counts)
    _tell(teacher, counts)
    return counts


def before(teacher: Hf, studies: Sequence[Study], prompt: str) -> Written:
    """What is there already of what `write_texts` would write; no model is read, and log-probs are not looked at."""
    name = teacher.prompt or prompt
    done, asked = _texts(teacher), _askable(name, studies)
    return Written(len(studies), sum(study.id in done for study in asked), without_report=len(studies) - len(asked))


def _askable(prompt: str, studies: Sequence[Study]) -> list[Study]:
    """Those that the prompt can be filled with."""
    return [study for study in studies if not reads_reports(prompt) or (study.report or "").strip()]


def _one_batch(asking: Asking, studies: Sequence[Study], done: dict[str, str], counts: Written) -> Written:
    """Write what is not ``done``, and record all. Log-probs first: a text that is there has them."""
    new = [study for study in studies if study.id not in done]
    answers = dict(zip((study.id for study in new), asking.write(new) if new else (), strict=True))
    if asking.log_probs is not None:
        texts = [(s, answers[s.id].text if s.id in answers else done[s.id]) for s in studies]
        tokens = asking.record(texts)
        counts = replace(counts, recorded=counts.recorded + len(texts), tokens=counts.tokens + tokens)
    own = asking.teacher
    for study, answer in answers.items():
        row = {"study": study, "teacher": own.teacher or own.name, "text": answer.text, "prompt": asking.prompt}
        jsonlines.append(Path(own.path), row)
    return replace(
        counts,
        written=counts.written + len(answers),
        cut=counts.cut + sum(answer.cut for answer in answers.values()),
        empty=counts.empty + sum(not answer.text for answer in answers.values()),
    )


def _batches(studies: Sequence[Study], size: int) -> Iterator[list[Study]]:
    left = iter(studies)
    while batch := list(islice(left, size)):
        yield batch


def _lacks(asking: Asking, study: Study, text: str) -> bool:
    return asking.log_probs is not None and not asking.is_recorded(study, text)


def _texts(teacher: Hf) -> dict[str, str]:
    """Study to text, of those that are whole; a last line that a kill cut off is taken away."""
    path = Path(teacher.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return {}
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        atomic.write_bytes(path, content[: content.rfind(b"\n") + 1])
    own = teacher.teacher or teacher.name
    return {row["study"]: row["text"] for row in records.read(path) if row["teacher"] == own}


def _tell(teacher: Hf, counts: Written) -> None:
    where = f"teachers.{teacher.name}"
    if counts.without_report:
        log.warning("%s: %d studies have no report, and are not asked.", where, counts.without_report)
    if counts.cut:
        log.warning(
            "%s: %d of %d texts ran into decoding.max_new_tokens (%d) and have no end of their own.",
            where,
            counts.cut,
            counts.written,
            teacher.decoding.max_new_tokens,
        )
