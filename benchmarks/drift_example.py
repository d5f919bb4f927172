"""Drift on real texts: what seven published teachers say of one CXR-MAX case, as a page with figures.

    python benchmarks/drift_example.py EXAMPLE.json FOLDER [--encoder FOLDER] [--student MODEL]

EXAMPLE.json holds ``labels`` and ``trajectories`` (teacher to text), as the README of the method's repository prints
them. The texts are CC BY-NC-SA 4.0, so the page has what is read out of them and not the texts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from apo_lightning.drift import embeddings
from apo_lightning.drift import run as drift
from apo_lightning.drift.corpus import SIDES, Corpus
from apo_lightning.drift.run import Models
from apo_lightning.drift.segments import sentence_spans
from apo_lightning.experiment import drift_models, drift_sources
from apo_lightning.files.atomic import write_bytes, write_text
from apo_lightning.reports import drift as shown
from apo_lightning.text.labeler import KINDS
from apo_lightning.text.mentions import MENTIONS
from apo_lightning.text.slots import unfilled

SAID = (
    ("the same, other side", "There is a small left pleural effusion.", "There is a small right pleural effusion."),
    ("the same, denied", "There is a small left pleural effusion.", "There is no left pleural effusion."),
    (
        "the same, other words",
        "There is a small left pleural effusion.",
        "Blunting of the left costophrenic angle from a little pleural fluid.",
    ),
    ("another finding", "There is a small left pleural effusion.", "The heart is enlarged."),
)
"""Pairs of sentences made up to show what a distance of embeddings sees."""


def source(example: Path) -> drift_sources.Source:
    """The case as ``apo drift FILE`` reads it."""
    content = json.loads(example.read_bytes())
    row = {"id": "example", "image": "withheld", **{key: content[key] for key in ("labels", "trajectories")}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cxr_max_example.jsonl"
        path.write_text(json.dumps(row) + "\n", "utf-8")
        return drift_sources.of_files([path], list(MENTIONS))


def models(case: drift_sources.Source, encoder: Path | None, student: str | None) -> Models:
    """What models measure, as far as they are at hand."""
    found = Models()
    if encoder:
        found = Models(embedding=drift_models.embedding(case, encoder), encoder=drift_models.shown(str(encoder)))
    if student:
        divergence, scorer = drift_models.divergence(case, student, 1)
        found = Models(divergence, scorer, found.embedding, found.encoder)
    return found


def teachers(corpus: Corpus) -> Iterator[Sequence[str]]:
    """A row a teacher: what is read out of its text."""
    for u, name in enumerate(corpus.teachers):
        text = corpus.texts[corpus.studies[0]][name]
        said = [_finding(corpus, u, f) for f in range(len(corpus.findings))]
        told = "; ".join(filter(None, said)) or "–"
        slots = ", ".join(f"`{slot}`" for slot in unfilled(text)) or "–"
        kind = KINDS[corpus.kind[0, u]]
        yield name, kind, str(corpus.lengths[0, u]), str(len(sentence_spans(text))), told, slots


def _finding(corpus: Corpus, teacher: int, finding: int) -> str:
    value, name = corpus.said[0, teacher, finding], corpus.findings[finding].replace("_", " ")
    if np.isnan(value):
        return ""
    side = SIDES[corpus.sides[0, teacher, finding]]
    doubt = ", with doubt" if corpus.hedged[0, teacher, finding] else ""
    return f"{'no ' if value == 0 else ''}{name}{f' ({side}{doubt})' if side else f' ({doubt[2:]})' if doubt else ''}"


def table(heads: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def blurred(encoder: Path) -> str:
    """How far an encoder holds sentences apart that say the opposite, and such that say the same."""
    load = embeddings.Encoder.load(encoder)
    rows = [
        (what, one, other, f"{embeddings.distance(load([one, other])[:, None])[0, 0, 1]:.2f}")
        for what, one, other in SAID
    ]
    return table(["", "sentence", "beside", "cosine distance"], rows)


def page(case: drift_sources.Source, labels: Sequence[str], record: dict, encoder: Path | None) -> Iterator[str]:
    """Parts of the page."""
    yield "# Drift of seven published teachers on one case"
    yield (
        "The one case of CXR-MAX that its authors print in full: seven models were given a chest X-ray and its "
        f"labels ({', '.join(labels)}) and asked for the basis. One case shows what is read "
        "and measured, and has no intervals; it says nothing about the models. Image and report are MIMIC-CXR's and "
        "not here. Texts: X. Yang, J. Lu, E. Yu, arXiv 2510.04142, CXR-MAX, CC BY-NC-SA 4.0; this page holds what "
        "rules read out of them, and no text. Made by `benchmarks/drift_example.py`; the same for texts of your own: "
        "`apo drift FILE`. What is measured: [drift.md](../../drift.md)."
    )
    yield "## What each says"
    yield table(["teacher", "kind", "words", "sentences", "states", "slots left unfilled"], teachers(case.corpus))
    sides = {
        name: [
            SIDES[case.corpus.sides[0, u, case.corpus.findings.index(name)]] for u in range(len(case.corpus.teachers))
        ]
        for name in ("atelectasis", "pleural_effusion")
    }
    counted = "; ".join(
        f"{name.replace('_', ' ')}: {own.count('right')} right, {own.count('left')} left" for name, own in sides.items()
    )
    yield (
        f"{counted}. The radiologist read left lower lobe atelectasis and bilateral effusions: a majority vote puts "
        "the atelectasis on the wrong side and sees half of the effusions. A refusal is one of the seven streams."
    )
    yield "## What is measured"
    yield from shown.drift_parts(shown.section(record), level=3)
    if encoder:
        yield "## What embeddings do not see"
        yield blurred(encoder)
        yield (
            "Sentences made up for this table. Left and right, the very thing that the seven differ in, are nearer to "
            "each other than two wordings of one fact. The distance by what is stated stands beside it for that reason."
        )


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("example", type=Path)
    words.add_argument("folder", type=Path)
    words.add_argument("--encoder", type=Path)
    words.add_argument("--student")
    options = words.parse_args()
    case = source(options.example)
    labels = json.loads(options.example.read_bytes())["labels"]
    record = drift.measure(case.corpus, models=models(case, options.encoder, options.student), style=False)
    record |= {"part": " ".join(case.notes)}
    for figure in shown.draw(record):
        write_bytes(options.folder / "figures" / figure.name, figure.data)
    text = "\n\n".join(page(case, labels, record, options.encoder))
    print(write_text(options.folder / "cxr_max_example.md", text + "\n"))


if __name__ == "__main__":
    main()
