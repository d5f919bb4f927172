"""Reconcile prompts whose teachers' texts are too long for the budget: how many are refused, how many do not fit.

Seven teachers describe a study in English or in Chinese, at five budgets from what image and question take alone
(nothing is left for the teachers) to 200 tokens each, with the embedded tokenizer and with one of Qwen's kind that has
learned both languages. Counted are prompts that are refused, that are over the budget, that hold U+FFFD or a part of a
character, and in which a text was cut much shorter than another; and how much of the room is used.

    python benchmarks/long_texts.py
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

import regex
from PIL import Image
from rich.console import Console
from rich.table import Column, Table

from apo_lightning.batching.collate import Collator
from apo_lightning.errors import DataError
from apo_lightning.models.processor import JoinedProcessor, load_processor
from apo_lightning.nano import parts
from apo_lightning.types import Example, Study, Trajectory

TEACHERS = 7
ROOM = (0, 5, 40, 400, 1400)
"""Tokens beside image and question, for all teachers together."""
UNEVEN = 30
"""Tokens by which two cut texts may differ: an emoji of several parts has so many in a vocabulary of bytes."""
WORDS = {
    "English": regex.findall(
        r"\S+",
        "There is a small left pleural effusion with adjacent atelectasis. The cardiomediastinal silhouette is "
        "enlarged, consistent with moderate cardiomegaly; no pneumothorax. Endotracheal tube terminates 4.2 cm above "
        "the carina. Bilateral perihilar opacities suggest interstitial edema, worse since 2019.",
    ),
    "Chinese": regex.findall(
        r"\X",
        "左侧胸腔少量积液，伴邻近肺不张。心影增大，提示中度心脏肥大；未见气胸。气管插管末端位于隆突上方约4.2厘米处。"
        "双肺门周围模糊影，考虑间质性肺水肿，较前加重。建议三至六个月后复查。🫁👨‍⚕️",
    ),
}


def text(draw: random.Random, language: str) -> str:
    """A made-up text of 60 to 400 words or characters."""
    words = draw.choices(WORDS[language], k=draw.randint(60, 400))
    return " ".join(words) if language == "English" else "".join(words)


def vocabularies() -> dict[str, JoinedProcessor]:
    draw = random.Random(0)
    corpus = [text(draw, language) for language in WORDS for _ in range(200)]
    learned = parts.build_tokenizer(corpus, 4000)
    learned.model_max_length = 10**6
    return {"nano": load_processor("nano"), "Qwen-like": JoinedProcessor(parts.build_image_processor(), learned)}


def ask(processor: Any, budget: int, reports: Sequence[str]) -> list[int]:
    """Ids of a prompt with ``reports`` within ``budget`` tokens.

    Raises:
        DataError: it is refused.
    """
    limits = dict(max_prompt_tokens=budget, max_branch_tokens=1, max_context_tokens=budget)
    collate = Collator(processor, prompt="reconcile", findings=(), **limits)
    said = tuple(Trajectory("study", f"t{i}", report) for i, report in enumerate(reports))
    study = Example(Study("study", "patient", "train", (), {}), (), said)
    return collate([(study, [Image.new("L", (parts.SIDE, parts.SIDE))])]).prefix_ids[0].tolist()


def look(processor: Any, language: str, room: int, count: int) -> list[str]:
    """The numbers of a row of the table."""
    frame = len(ask(processor, 10**6, [""] * TEACHERS))
    draw, found, used = random.Random(room), Counter[str](), []
    for _ in range(count):
        reports = [text(draw, language) for _ in range(TEACHERS)]
        try:
            ids = ask(processor, frame + room, reports)
        except DataError:
            found["refused"] += 1
            continue
        found["over"] += len(ids) > frame + room
        used.append((len(ids) - frame) / room if room else 1.0)
        lines = processor.tokenizer.decode(ids).split("Reader ")[1:]
        kept = [line.split("\n")[0].partition(":")[2].removeprefix(" ") for line in lines]
        found["damaged"] += not all(whole(short, report) for short, report in zip(kept, reports, strict=True))
        lengths = [len(processor.tokenizer(short, add_special_tokens=False)["input_ids"]) for short in kept]
        cut = [n for n, short, report in zip(lengths, kept, reports, strict=True) if short != report]
        found["unfair"] += bool(cut) and max(lengths) - min(cut) > UNEVEN
    return [
        *(str(found[key]) for key in ("refused", "over", "damaged", "unfair")),
        f"{statistics.median(used):.0%}" if used else "-",
    ]


def whole(short: str, report: str) -> bool:
    """Whether ``short`` is the beginning of ``report``, and ends where a character does."""
    ends = {0, *(found.end() for found in regex.finditer(r"\X", report))}
    return report.startswith(short) and "\ufffd" not in short and len(short) in ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="prompts at each budget")
    own = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    columns = ("language", "room", "refused", "over", "damaged", "unfair", "room used")
    table = Table(
        Column("tokenizer", no_wrap=True), *columns, title=f"{own.count} prompts of {TEACHERS} teachers at each budget"
    )
    for name, processor in vocabularies().items():
        for language in WORDS:
            for room in ROOM:
                table.add_row(name, language, str(room), *look(processor, language, room, own.count))
    Console().print(table)


if __name__ == "__main__":
    main()
