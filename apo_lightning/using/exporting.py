"""A run's student as a folder that other tools read: weights or an adapter, processor, generation settings, card."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from apo_lightning.errors import ConfigError
from apo_lightning.files.atomic import removal, replacing, write_text
from apo_lightning.settings import DecodingSettings
from apo_lightning.using import card, card_use, fidelity, networks, processor_files
from apo_lightning.using.chosen import Chosen
from apo_lightning.using.exported import BESIDE, Exported

HUB = re.compile(r"[\w.-]+/[\w.-]+")
STUDIES = 8


def export(
    chosen: Chosen,
    folder: Path,
    *,
    adapter: bool = False,
    overwrite: bool = False,
    base: str | None = None,
    studies: int = STUDIES,
    say: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write a student for plain transformers (and peft), in the form that vLLM reads. The folder gets its name once
    it is whole.

    Args:
        chosen: which.
        folder: takes the files; must be empty or not there.
        adapter: one LoRA adapter that carries the whole chain, instead of merged weights.
        overwrite: replace an earlier export.
        base: how the base model is called on another machine; None: its hub name. Without either, an adapter has the
            base beside it.
        studies: on how many the exported student is compared with the run's.
        say: takes one line of text.

    Raises:
        ConfigError: the folder holds something, the arm has nothing to export so, or ``studies`` is none.
        ArtifactError: the saved student cannot be read.
    """
    _require(chosen, folder, adapter=adapter, overwrite=overwrite, studies=studies)
    settings, saved, known = chosen.cfg.student, chosen.saved, base or hub_name(chosen.cfg.student.model)
    how = DecodingSettings(**chosen.cfg.evaluate.decoding())
    with replacing(folder) as scratch:
        scratch.mkdir()
        say(f"{'one adapter' if adapter else 'merged weights'} of {chosen.title} ...")
        rank = 0
        if adapter:
            rank = networks.write_adapter(saved, scratch, known or BESIDE)
            networks.write_config(settings, scratch)
            if not known:
                networks.write_base(settings, scratch / BESIDE)
                processor_files.copy(settings, scratch / BESIDE)
        else:
            networks.write_merged(settings, saved, scratch)
        processor_files.copy(settings, scratch)
        say("comparing it with the run's student ...")

        def load():
            student = (fidelity.adapted if adapter else fidelity.merged)(settings, scratch)
            for place in (scratch, scratch / BESIDE):
                if place.is_dir():
                    processor_files.write_generation(student, how, place)
            return student

        def answered(student, image):
            return card_use.answered(chosen, student.model, scratch, image)

        measured = fidelity.measure(chosen, load, studies, answered)
        done = Exported(folder, "adapter" if adapter else "merged", known or BESIDE, rank, measured)
        write_text(scratch / card.FILE, card.text(chosen, done, known))
    return done


def hub_name(model: str) -> str | None:
    """A model as every machine knows it; None of a folder of this one and of the embedded student.

    >>> hub_name("Qwen/Qwen2.5-VL-7B-Instruct"), hub_name("nano")
    ('Qwen/Qwen2.5-VL-7B-Instruct', None)
    """
    return model if HUB.fullmatch(model) and not Path(model).exists() else None


def _require(chosen: Chosen, folder: Path, *, adapter: bool, overwrite: bool, studies: int) -> None:
    if studies < 1:
        raise ConfigError(f"--studies must be 1 or more, got {studies}.")
    if adapter and chosen.stage is None:
        raise ConfigError(f"Arm '{chosen.arm}' trains nothing, so it has no adapter. Leave --adapter out.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ConfigError(f"{folder} is no folder. Name one that is empty or not there.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise ConfigError(f"{folder} is not empty. Name another folder, or add --overwrite to replace an export.")
    if not card.is_ours(folder):
        raise ConfigError(
            f"{folder} holds no export, so --overwrite does not touch it. Name another folder, or remove it yourself: "
            f"{removal(folder)}"
        )
