"""How near an exported student is to the run's: its log-probs of the run's answers, and its own answers, measured."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lightning.fabric.utilities import move_data_to_device
from PIL import Image

from apo_lightning.errors import ApoError
from apo_lightning.experiment import checks
from apo_lightning.models.adapters import LEARNED, put_on, read_adapter
from apo_lightning.models.network import load_network
from apo_lightning.models.processor import load_processor
from apo_lightning.models.student import Student
from apo_lightning.settings import AdapterSettings, ExperimentSettings, StudentSettings
from apo_lightning.types import Branch, Example, Study
from apo_lightning.using.chosen import Chosen
from apo_lightning.using.trained import TrainedStudent
from data_modules.phantom import Phantom

Shown = list[tuple[str, list[Image.Image]]]
"""Studies by name, with their images."""
DRAWN = "drawn studies (the run's own data set is not at hand)"


@dataclass(frozen=True)
class Fidelity:
    """The exported student beside the run's.

    Attributes:
        studies: on how many it was measured.
        of: which these were.
        tokens: of the run's answers to them.
        largest: greatest difference of an answer's log-probability, in nats, >= 0.
        per_token: mean over answers of that difference divided by the answer's tokens.
        same: answers that the exported student writes word for word.
        printed: the lines of the card write the first of them word for word.
    """

    studies: int
    of: str
    tokens: int
    largest: float
    per_token: float
    same: int
    printed: bool

    def sentence(self) -> str:
        return (
            f"log-probabilities of {self.studies} answers ({self.tokens} tokens; {self.of}) differ from those under "
            f"the run's student by at most {self.largest:.2g} nats an answer, {self.per_token:.2g} a token on average; "
            f"{self.same} of {self.studies} answers are the same word for word; the lines of this card were run on the "
            f"first and wrote {'the same' if self.printed else 'other words'}"
        )


def measure(
    chosen: Chosen, load: Callable[[], Student], studies: int, answered: Callable[[Student, Image.Image], str]
) -> Fidelity:
    """
    Args:
        chosen: the run's student.
        load: reads the exported one, once the other has left the memory.
        studies: at most so many, the first of the run's evaluation split.
        answered: what the lines of the card print, with the exported student and an image.
    """
    shown, of = _shown(chosen.cfg, studies)
    texts, before, tokens = _asked(TrainedStudent(chosen), shown)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    exported = load()
    again, after, _ = _asked(TrainedStudent(chosen, exported), shown, texts)
    printed = answered(exported, shown[0][1][-1]) == again[0].strip()
    apart = (after - before).abs()
    same = sum(one == other for one, other in zip(texts, again, strict=True))
    largest, per_token = apart.max().item(), (apart / tokens).mean().item()
    return Fidelity(len(shown), of, int(tokens.sum()), largest, per_token, same, printed)


def merged(settings: StudentSettings, folder: Path) -> Student:
    """The student of exported merged weights, with the processor beside them."""
    own = replace(settings, model=str(folder), adapter=AdapterSettings(), min_pixels=None, max_pixels=None)
    return Student.load(own)


def adapted(settings: StudentSettings, folder: Path) -> Student:
    """The student of an exported adapter over the run's base, with the processor beside it."""
    model = put_on(load_network(settings), *_named(folder))
    return Student(model.requires_grad_(False).eval(), load_processor(settings.model), settings)


def _named(folder: Path) -> tuple:
    config, state = read_adapter(folder)
    return replace(config, base_model_name_or_path=None), LEARNED, state, folder


def _shown(cfg: ExperimentSettings, most: int) -> tuple[Shown, str]:
    try:
        data = checks.build_data(cfg)
        found = data.studies(cfg.evaluate.split)[:most]
        return [(one.id, data.images(one)) for one in found], f"the first of the run's {cfg.evaluate.split} split"
    except (ApoError, OSError):
        drawn = Phantom(train=1, val=1, test=most)
        return [(one.id, drawn.images(one)) for one in drawn.studies("test")], DRAWN


@torch.no_grad()
def _asked(
    asked: TrainedStudent, shown: Shown, texts: Sequence[str] | None = None
) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Its answers; and of ``texts`` (None: of these answers) log-probabilities and tokens, ``[S]`` each."""
    answers = [asked.reply([one])[0].text for one in shown]
    collate, logps, lengths = asked.collator(), [], []
    for (name, pictures), text in zip(shown, texts or answers, strict=True):
        example = Example(Study(name, name, "test", (), {}), (Branch("student", text),))
        scores = asked.student.score(move_data_to_device(collate([(example, pictures)]), asked.device))
        logps.append(scores.logps[0, 0].double().cpu())
        lengths.append(scores.lengths[0, 0].double().cpu())
    return answers, torch.stack(logps), torch.stack(lengths)
