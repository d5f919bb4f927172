"""What a student reads where a text holds its tokenizer's special and added tokens, in answers and in prompts.

Every token goes through alone, amid words, twice, inside another and in other letters. Counted are texts of which a
special or added token was read, texts that do not decode to themselves (in the tokenizer's normal form), and prompts
whose images have not as many tokens as beside harmless texts, or that the processor refused. Without arguments the
tiny students of the tests stand for their families, with twice as many tokens as these have; with them, folders or
downloaded names do.

    python benchmarks/special_tokens.py [MODEL ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Column, Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from apo_lightning.batching.collate import Collator
from apo_lightning.models.processor import load_processor
from apo_lightning.types import Branch, Example, Study, Trajectory
from tests.helpers import special_tokens, students

LIMITS = dict(max_prompt_tokens=10**6, max_branch_tokens=10**6, max_context_tokens=10**6)
PLAIN = special_tokens.PLAIN
COLUMNS = ("texts", "answers: read", "altered", "prompts: read", "altered", "wrong images")


def families() -> Iterator[tuple[str, Any]]:
    """Name and processor of each family's tiny student."""
    from transformers.models.smolvlm import processing_smolvlm

    processing_smolvlm.num2words = processing_smolvlm.num2words or str  # asked for, and used for videos alone
    for family in students.RECIPES:
        with tempfile.TemporaryDirectory() as folder:
            yield family, special_tokens.processor(family, Path(folder))


def look(processor: Any) -> list[int]:
    """The numbers of a row of the table."""
    words, found = processor.tokenizer, Counter[str]()
    added = {token.content: i for i, token in words.added_tokens_decoder.items()}
    special = {*words.all_special_ids, *added.values()}
    image = {i for i in processor.image_token_ids if i is not None}
    collate = Collator(processor, prompt="reconcile", findings=(), **LIMITS)
    plain = ask(collate, PLAIN)
    texts = list(special_tokens.texts(sorted({*added, *words.all_special_tokens})))
    for text in texts:
        ids = collate.encode_answer(Branch("a", text))[0][:-1]
        found["answers"] += not special.isdisjoint(ids)
        found["altered answers"] += normal(words, text) not in words.decode(ids)
        try:
            ids = ask(collate, text)
        except (ValueError, IndexError, StopIteration):
            found["images"] += 1
            continue
        found["images"] += sum(i in image for i in ids) != sum(i in image for i in plain)
        found["prompts"] += [i for i in ids if i in special] != [i for i in plain if i in special]
        found["altered prompts"] += normal(words, f"Reader 1: {' '.join(text.split())}\n") not in words.decode(ids)
    return [len(texts), *(found[key] for key in ("answers", "altered answers", "prompts", "altered prompts", "images"))]


def ask(collate: Collator, text: str) -> Sequence[int]:
    """Ids of a prompt with a teacher's text."""
    picture = Image.fromarray(np.linspace(0, 255, 48 * 48).astype(np.uint8).reshape(48, 48))
    said = Trajectory("study", "teacher", text)
    return (
        collate([(Example(Study("study", "patient", "train", (), {}), (), (said,)), [picture])]).prefix_ids[0].tolist()
    )


def normal(words: Any, text: str) -> str:
    """What a tokenizer keeps of a text."""
    normalizer = words.backend_tokenizer.normalizer
    spaces = "\u2581"
    return text if normalizer is None else normalizer.normalize_str(text).replace(spaces, " ").removeprefix(" ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="what student.model can name")
    own = parser.parse_args()
    table = Table(Column("student", no_wrap=True), *COLUMNS, title="Texts that hold special and added tokens")
    for name, processor in ((model, load_processor(model)) for model in own.models) if own.models else families():
        table.add_row(name, *map(str, look(processor)))
    Console().print(table)


if __name__ == "__main__":
    main()
