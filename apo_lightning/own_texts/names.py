"""Which column (or key) of a file is what: by its usual names, or as a mapping says."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from apo_lightning.errors import DataError, did_you_mean
from data_modules.tables.headers import clean, same

KEYS = ("study", "image", "teacher", "text")
"""What a mapping of columns may name."""
STUDY = ("study", "study_id", "study_uid", "exam", "exam_id", "case", "case_id", "accession", "accession_number", "uid")
IMAGE = (
    "image", "image_path", "img", "img_path", "image_file", "image_name", "image_filename", "image_id", "image_index",
    "images", "path", "file", "file_path", "file_name", "dicom_id", "dicom", "dicom_path",
)  # fmt: skip
ID = ("custom_id", "id", "key", "item_id", "sample_id", "record_id")
TEACHER = (
    "teacher",
    "teacher_name",
    "model",
    "model_name",
    "model_id",
    "llm",
    "vlm",
    "annotator",
    "source",
    "provider",
)
TEXT = (
    "response", "text", "answer", "content", "output", "completion", "generated_text", "generation", "prediction",
    "trajectory", "message", "messages", "result", "reasoning", "explanation", "report", "radiology_report",
)  # fmt: skip
TEXTS = (
    "trajectories", "responses", "texts", "answers", "outputs", "completions", "predictions", "generations", "results",
    "reports", "teachers", "models",
)  # fmt: skip
"""One value with the texts of several teachers."""
REFERENCE = ("report", "radiology_report")
"""Taken for a teacher's text only where nothing else is: it may be the radiologist's."""
NO_TEXT = frozenset(
    map(
        same,
        (
            *REFERENCE, "prompt", "question", "instruction", "system", "system_prompt", "created", "created_at", "date",
            "time", "timestamp", "usage", "tokens", "cost", "label", "labels", "finding_labels", "reference", "gt",
            "ground_truth", "patient", "patient_id", "subject_id", "split", "view", "view_position", "age", "sex",
            "gender", "finish_reason", "stop_reason", "status", "error", "latency", "seed", "temperature", "notes",
            "comment", "index", "", "t",
        ),
    )
)  # fmt: skip
"""Columns that are no teacher's texts in a table with a column a teacher."""
HEADS = {
    "study": ("study", "exam", "accession"),
    "image": ("image", "img", "dicom", "file", "filename", "path"),
    "teacher": ("teacher", "model", "llm"),
    "text": ("response", "text", "answer", "output", "completion"),
}
"""Words that tell what a column of another name is, where one column alone has them."""


@dataclass(frozen=True)
class Layout:
    """What the columns of a row are.

    Attributes:
        studies: those that may name the study, the surest first.
        teacher, text: of a row with one text.
        texts: one that holds texts by teacher.
        wide: others, which may be the texts of the teacher that they are named for.
        aside: those that are not read.
    """

    studies: tuple[str, ...]
    teacher: str | None = None
    text: str | None = None
    texts: str | None = None
    wide: tuple[str, ...] = ()
    aside: tuple[str, ...] = field(default=(), compare=False)


def layout(columns: Sequence[str], given: Mapping[str, str] | None = None) -> Layout:
    """
    Args:
        columns: of the file, in their order.
        given: some of ``KEYS`` to the column that it is.

    Raises:
        DataError: ``given`` names a column that is not there.
    """
    given = {key: column(name, columns, key) for key, name in (given or {}).items()}
    studies = [given[key] for key in ("study", "image") if key in given]
    left = [name for name in columns if name not in given.values()]
    studies = studies or _studies(left, columns)
    left = [name for name in left if name not in studies]
    teacher = given.get("teacher") or usual(left, TEACHER, "teacher", without=TEXT)
    left = [name for name in left if name != teacher]
    texts = None if "text" in given else usual(left, TEXTS)
    text = given.get("text") or (None if texts else usual(left, TEXT, "text"))
    left = [name for name in left if name not in (text, texts)]
    only = teacher or texts or (text and (text not in references(columns) or "text" in given))
    may_be = () if only else tuple(name for name in left if same(name) not in NO_TEXT)
    return Layout(tuple(studies), teacher, text, texts, may_be, tuple(name for name in left if name not in may_be))


def _studies(left: Sequence[str], columns: Sequence[str]) -> list[str]:
    """All that may name the study; `matching.match` finds out which does."""
    by_key = {same(name): name for name in reversed(list(left))}
    own_form = {"id", "image", "trajectories"} <= set(columns)
    order = ("id", *STUDY, *IMAGE, *ID) if own_form else (*STUDY, *IMAGE, *ID)
    found = [by_key[key] for key in map(same, order) if key in by_key]
    near = [usual(left, (), head) for head in ("study", "image")]
    return list(dict.fromkeys(found or [name for name in near if name]))


def references(columns: Iterable[str]) -> list[str]:
    """Columns whose texts may be the radiologist's."""
    return [name for name in columns if same(name) in map(same, REFERENCE)]


def usual(columns: Iterable[str], names: Sequence[str], head: str = "", without: Sequence[str] = ()) -> str | None:
    """The column that bears the first of ``names``; else the only one that has a word of ``HEADS[head]`` in its name.

    >>> usual(["Image Path", "prompt"], IMAGE), usual(["gpt_answer", "date"], TEXT, "text")
    ('Image Path', 'gpt_answer')
    """
    by_key = {same(name): name for name in reversed(list(columns))}
    if found := next((by_key[key] for key in map(same, names) if key in by_key), None):
        return found
    other = {word for name in without for word in words(name)}
    near = [n for key, n in by_key.items() if key not in NO_TEXT and words(n) & set(HEADS.get(head, ()))]
    near = [name for name in near if not words(name) & other]
    return near[0] if len(near) == 1 else None


def words(name: str) -> set[str]:
    """
    >>> sorted(words("Model Name")), sorted(words("imagePath"))
    (['model', 'name'], ['image', 'path'])
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", clean(name))
    return set(re.split(r"[\W_]+", apart.casefold())) - {""}


def column(name: str, columns: Sequence[str], key: str) -> str:
    """The column that a mapping means, also under another case.

    Raises:
        DataError: it is not there.
    """
    found = [own for own in columns if own == name] or [own for own in columns if same(own) == same(name)]
    if len(found) != 1:
        raise DataError(f"columns.{key} names '{name}', which the file has not. {did_you_mean(name, columns)}")
    return found[0]


def teacher_of(name: str) -> str:
    """The teacher that a column of texts is named for.

    >>> teacher_of("gpt_answer"), teacher_of("Response (claude)"), teacher_of("gpt-4o")
    ('gpt', 'claude', 'gpt-4o')
    """
    heads = "|".join((*HEADS["text"], "report"))
    bare = re.sub(rf"^(?:{heads})[\W_]+|[\W_]+(?:{heads})$", "", clean(name), flags=re.IGNORECASE)
    return bare.strip(" _-()[]") or name


def resolve(name: str, known: Collection[str]) -> str | None:
    """The teacher of a file that a name means: the same but for case and marks, else the only one that has its words.

    >>> resolve("gpt", ["gpt-4o", "claude-sonnet-4"]), resolve("Gpt4o", ["gpt-4o"]), resolve("gpt", ["gpt-4", "gpt-5"])
    ('gpt-4o', 'gpt-4o', None)
    """
    if name in known:
        return name
    equal = [own for own in known if _bare(own) == _bare(name)]
    near = equal or [own for own in known if words(name) and words(name) <= words(own)]
    return near[0] if len(near) == 1 else None


def _bare(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def setting_name(teacher: str) -> str:
    """A name that may stand in a dotted key.

    >>> setting_name("gemini-2.5-pro"), setting_name("openai/gpt-4o")
    ('gemini-2_5-pro', 'openai_gpt-4o')
    """
    return re.sub(r"[^\w-]+", "_", teacher.strip()).strip("_") or "teacher"
