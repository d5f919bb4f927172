"""A stage's answers through the server that writes for the student (``student.server``): found before training begins,
asked in the place of the student's own writer, and noted in the stage's manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from apo_lightning import leader
from apo_lightning.collecting.guard import check_sending
from apo_lightning.collecting.secrets import masked
from apo_lightning.errors import ConfigError, ServerError
from apo_lightning.experiment import preferred
from apo_lightning.experiment.prediction_files import PredictionFiles
from apo_lightning.files.formats import read_json, write_json
from apo_lightning.models.processor import load_processor
from apo_lightning.probes.flips import Swapping
from apo_lightning.serving.adapter import loaded
from apo_lightning.serving.asker import Asker
from apo_lightning.serving.decoding import body, stop_tokens
from apo_lightning.serving.messages import Asking
from apo_lightning.serving.server import PATIENCE, WHERE, Base, Server
from apo_lightning.serving.writer import ServedWriter
from apo_lightning.settings import ExperimentSettings, StudentSettings
from apo_lightning.stages.generate import Writer, Written
from data_modules.base import CXRDataModule

RECORD = "server.json"
"""Who wrote, beside the parts of the answers."""


@dataclass(frozen=True)
class Absent:
    """A student that is not in this process: what others need to ask it.

    Attributes:
        processor: see `models.processor`.
        settings: of the student.
        source: folder of the saved student, None for the base model.
    """

    processor: Any
    settings: StudentSettings
    source: Path | None


def absent(settings: StudentSettings, source: Path | None) -> Absent:
    """The student in ``source`` without its network."""
    return Absent(load_processor(settings.model, settings.min_pixels, settings.max_pixels), settings, source)


def writes(settings: StudentSettings) -> bool:
    """Whether a server writes."""
    return settings.server.url is not None


def check(cfg: ExperimentSettings) -> None:
    """Whether the server of an arm is there, serves its student, and has room for its questions.

    Raises:
        ServerError, ConfigError: something of that is not so.
    """
    own = cfg.student
    if not writes(own):
        return
    with Server(own.server, timeout=min(PATIENCE, own.server.timeout)) as server:
        base = server.base(own.model)
        if any(arm.stages for arm in cfg.arms.values()):
            server.require_loading(base)
    for key, length in _lengths(cfg).items():
        if base.positions is not None and length > base.positions:
            raise ServerError(
                f"{WHERE}.url {masked(server.url)} takes {base.positions:,} tokens of question and answer, and {key} "
                f"is {length:,}. Start it with --max-model-len {length}, or lower one of the two."
            )


def _lengths(cfg: ExperimentSettings) -> dict[str, int]:
    own, distil = cfg.student, cfg.stages.self_distill
    lengths = {
        "student.max_prompt_tokens + evaluate.max_new_tokens": own.max_prompt_tokens + cfg.evaluate.max_new_tokens
    }
    if preferred.writes(cfg):
        key = "student.max_context_tokens + stages.self_distill.max_new_tokens"
        lengths[key] = own.max_context_tokens + distil.max_new_tokens
    return lengths


def guard(cfg: ExperimentSettings, data: CXRDataModule) -> None:
    """Images of a set under a data use agreement go to a server on this machine alone.

    Raises:
        ConfigError: they would go elsewhere, and nobody has said that they may.
    """
    if not writes(cfg.student):
        return
    sections = zip([cfg.data, cfg.evaluate.data], data.sets, strict=False)
    sets: dict[str, bool] = {}
    for section, part in sections:
        sets[section["name"]] = sets.get(section["name"], False) or part.credentialed
    try:
        check_sending(sets, str(cfg.student.server.url), cfg.acknowledge_sending, WHERE)
    except ConfigError as error:
        raise ConfigError(str(error).replace("base_url", "url")) from None


@contextmanager
def taking_over(
    cfg: ExperimentSettings, data: CXRDataModule, writer: Writer, collate: Any, filed: PredictionFiles
) -> Iterator[tuple[LightningModule, Any, PredictionFiles]]:
    """Inside, a server has the student, if one is to write: who asks it in the writer's place, and with what. Every
    process must call it.

    Raises:
        ServerError, ConfigError: the server is not there, or does not take the student.
    """
    settings, student = cfg.student, writer.student
    if not writes(settings):
        yield writer, collate, filed
        return
    guard(cfg, data)
    how = body(writer.how, settings, stop_tokens(settings, student.processor))
    with Server(settings.server, tokens=writer.how.max_new_tokens) as server:
        base = server.base(settings.model)
        with loaded(server, base, student.source, filed.parts) as name:
            model = base.model(name)
            if leader.is_leader():
                write_json(filed.parts / RECORD, _record(server, base, model))
            asker = Asker(server, model, how, settings.server.concurrency)
            yield ServedWriter(asker, seed=writer.seed, samples=writer.samples), _asking(collate), ServedFiles(filed)


def _record(server: Server, base: Base, model: str) -> dict[str, Any]:
    said = {
        "url": masked(server.url),
        "kind": base.kind,
        "version": server.version(),
        "base": base.id,
        "root": base.root,
    }
    return {**said, "model": model}


def record(filed: PredictionFiles) -> dict[str, Any]:
    """Who has written parts; nothing where this process did."""
    path = filed.parts / RECORD
    return dict(read_json(path)) if path.is_file() else {}


def _asking(collate: Any) -> Any:
    if isinstance(collate, Swapping):
        return replace(collate, collate=_asking(collate.collate))
    return Asking(collate)


class ServedFiles(PredictionFiles):
    """The same files, of answers that come when they come: with a later batch, or at the end."""

    def __init__(self, filed: PredictionFiles) -> None:
        super().__init__()
        self.parts, self.asked = filed.parts, filed.asked

    def write_on_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, prediction: Sequence[Written], *where: Any
    ) -> None:
        for written in prediction:
            super().write_on_batch_end(trainer, pl_module, written, *where)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ServedWriter)
        self.write_on_batch_end(trainer, pl_module, pl_module.rest())
