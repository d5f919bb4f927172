"""What is said beside files that look as if they could be loaded by hand."""

from __future__ import annotations

from pathlib import Path

from apo_lightning.files.atomic import write_text

FILE = "README.txt"
STUDENT = """\
A student as a run keeps it. Do not load parts of it by hand.

adapters/0, adapters/1, ... lie over the base model all at once, one for each stage of training. The last one alone, on
the base model that its adapter_config.json names, is another model, and gives other answers without a word of warning.

To use the student (docs/use_the_student.md), with RUN the run's folder and ARM its arm:

    apo ask RUN/ARM image.png           ask it
    apo export RUN ARM FOLDER           merged weights for transformers and vLLM
    apo export RUN ARM FOLDER --adapter one adapter that carries the whole chain, for peft and vLLM
"""


def put(stage: Path) -> None:
    """Beside the student that a stage wrote, if it wrote one, how it is used."""
    if (stage / "student").is_dir():
        write_text(stage / "student" / FILE, STUDENT)
