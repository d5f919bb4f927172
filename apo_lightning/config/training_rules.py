"""What must hold between Lightning's callbacks and how the stages train, so that none of them does nothing, or harm,
without a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from apo_lightning.config import shape
from apo_lightning.config.registered import Path
from apo_lightning.settings import ExperimentSettings

AVERAGING = ("StochasticWeightAveraging", "EMAWeightAveraging", "WeightAveraging")
SWA = AVERAGING[0]

Problem = tuple[Path, str] | tuple[Path, str, str]
"""A key, the sentence that says what is wrong with it (without file and full stop), and perhaps what to do."""


def broken(cfg: ExperimentSettings) -> Iterator[Problem]:
    """See `rules.broken`, of which this is a part."""
    sections = cfg.callbacks if isinstance(cfg.callbacks, Mapping) else {}
    for name, own in sections.items():
        monitor = own.get("monitor") if isinstance(own, Mapping) else None
        if isinstance(monitor, str) and not monitor.startswith("val/"):
            key = ("callbacks", name, "monitor")
            text = f"{'.'.join(key)} must name a metric of the validation split, got '{monitor}'"
            yield key, text, "A stage is one pass without end, after which nothing is left to decide; take val/loss."
    for name in (name for name in AVERAGING if name in sections):
        if cfg.trainer.strategy == "fsdp2":
            text = f"callbacks.{name} averages whole weights, and trainer.strategy fsdp2 takes them apart"
            yield ("callbacks", name), text, "Take ddp or one device."
    yield from _sharded(cfg)
    yield from _whole(cfg)
    if SWA in sections:
        yield from _stochastic(cfg, sections[SWA])


def _sharded(cfg: ExperimentSettings) -> Iterator[Problem]:
    """What needs FSDP2, and what it cannot take apart."""
    strategy = cfg.trainer.strategy
    if cfg.trainer.cpu_offload is True and strategy != "fsdp2":
        text = f"trainer.cpu_offload must be false where trainer.strategy is '{strategy}'"
        yield ("trainer", "cpu_offload"), text, "Only fsdp2 keeps weights elsewhere than where it computes with them."
    for stage, plan in vars(cfg.stages).items():
        name = getattr(getattr(plan, "optim", None), "name", "adamw")
        if strategy == "fsdp2" and name != "adamw":
            key = ("stages", stage, "optim", "name")
            text = f"{'.'.join(key)} must be adamw where trainer.strategy is fsdp2, got '{name}'"
            yield key, text, "bitsandbytes knows no parameters in pieces, and each process has a piece of the moments."


def _whole(cfg: ExperimentSettings) -> Iterator[Problem]:
    """Stages that ask a student in a way that its parts on several devices do not answer to."""
    arms = cfg.arms.values() if cfg.trainer.strategy == "fsdp2" and isinstance(cfg.arms, Mapping) else ()
    for name in dict.fromkeys(name for arm in arms for name in arm.stages if shape.stage_of(name) not in shape.PAPER):
        if getattr(shape.stages().get(name), "reads_reports", False):
            text = f"stages.{name} reads two prompts at a time, and trainer.strategy fsdp2 takes the student apart"
            yield ("trainer", "strategy"), text, "Take ddp or one device."


def _stochastic(cfg: ExperimentSettings, own: Mapping[str, object]) -> Iterator[Problem]:
    """It counts epochs, and puts its average in place when training ends, whatever else is to be handed on."""
    if cfg.trainer.limit_train_batches is None:
        text = f"callbacks.{SWA} counts epochs, and a stage is one, so that it would hand on the weights of the start"
        hint = "Cut it into epochs with trainer.limit_train_batches=N, or take EMAWeightAveraging, which counts steps."
        yield ("callbacks", SWA), text, hint
    if isinstance(own.get("swa_epoch_start", 0.8), float):
        text = f"callbacks.{SWA}.swa_epoch_start must be a whole epoch: of how many it is a share is not known"
        yield ("callbacks", SWA), text
    for stage, plan in vars(cfg.stages).items():
        if getattr(plan, "keep", "last") == "best":
            text = f"stages.{stage}.keep must be last with callbacks.{SWA}, which hands on its average"
            yield ("stages", stage, "keep"), text
