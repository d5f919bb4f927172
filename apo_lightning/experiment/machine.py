"""What an experiment asks of the machine it runs on, held against the machine: devices, precision, attention, 4 bits.

Names are checked everywhere; whether the devices and packages are here matters to a run alone, so that an experiment
for eight GPUs can be checked on a laptop.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import StrategyRegistry
from transformers.utils import is_flash_attn_2_available

from apo_lightning.errors import ConfigError, did_you_mean, first_line
from apo_lightning.experiment import trainer
from apo_lightning.metrics.report_text.measured import lacking
from apo_lightning.settings import ExperimentSettings, StudentSettings, TrainerSettings

ACCELERATORS = ("auto", "gpu", "cpu", "cuda", "mps", "tpu")
STRATEGIES = ("auto", "single", "ddp", "fsdp2")
"""Those of which it is tested that the weights in a stage's folder are those that were trained."""


def check_names(trainer: TrainerSettings, student: StudentSettings) -> None:
    """Settings that no machine has.

    Raises:
        ConfigError: all of them.
    """
    _raise(_unknown(trainer, student))


def check_here(cfg: ExperimentSettings) -> None:
    """Settings that this machine does not have.

    Raises:
        ConfigError: all of them.
    """
    texts = cfg.evaluate.report_text.resolved(cfg.evaluate.prompt or cfg.prompt)
    found = [*_absent(cfg.trainer, cfg.student), *_optimizers(cfg), *_workers(cfg), *lacking(texts)]
    if not found:
        try:
            trainer.trainer(cfg.trainer, fit=True, callbacks=[], max_steps=1)
        except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
            found = [f"trainer does not fit together, or not to this machine: {first_line(error)}."]
    _raise(found)


def _unknown(trainer: TrainerSettings, student: StudentSettings) -> Iterator[str]:
    kinds = {*ACCELERATORS, *AcceleratorRegistry.available_accelerators()}
    if trainer.accelerator not in kinds:
        yield f"trainer.accelerator '{trainer.accelerator}' does not exist. {did_you_mean(trainer.accelerator, kinds)}"
    if (name := trainer.strategy) in StrategyRegistry.available_strategies() and name not in STRATEGIES:
        yield (
            f"trainer.strategy must be one of {', '.join(STRATEGIES)}, got '{name}': under another one, which may take "
            "weights apart in its own way, a stage would store wrong weights without a word."
        )
    elif name not in STRATEGIES:
        yield f"trainer.strategy '{name}' does not exist. {did_you_mean(name, STRATEGIES)}"
    if student.attention == "flash_attention_2" and student.dtype == "float32":
        yield (
            "student.attention flash_attention_2 computes in 16 bits, and student.dtype is float32. "
            "Set student.dtype=bfloat16, or student.attention=sdpa."
        )


def _absent(trainer: TrainerSettings, student: StudentSettings) -> Iterator[str]:
    kind = trainer.accelerator
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
        "auto": True,
        "tpu": importlib.util.find_spec("torch_xla") is not None,
    }
    there["gpu"] = there["cuda"] or there["mps"]
    if not there.get(kind, True):
        have = ", ".join(name for name in ("cuda", "mps", "tpu", "cpu") if there[name])
        yield f"trainer.accelerator is '{kind}', and this machine has none. It has: {have}. 'auto' takes the best."
        return
    on_cpu = kind == "cpu" or (kind == "auto" and not (there["gpu"] or there["tpu"]))
    yield from _devices(trainer, on_cpu, torch.cuda.device_count() if there["cuda"] and not on_cpu else 1)
    if on_cpu and trainer.precision == "16-mixed":
        yield f"trainer.precision {trainer.precision} needs a GPU. On a CPU take bf16-mixed or 32-true."
    if student.attention == "flash_attention_2" and (on_cpu or not is_flash_attn_2_available()):
        lack = "a CUDA GPU" if on_cpu else "the package flash-attn (pip install flash-attn)"
        yield f"student.attention flash_attention_2 needs {lack}. student.attention=sdpa needs neither."
    if student.adapter.kind == "qlora" and importlib.util.find_spec("bitsandbytes") is None:
        yield "student.adapter.kind qlora needs the package bitsandbytes (pip install bitsandbytes), or take kind lora."


def _optimizers(cfg: ExperimentSettings) -> Iterator[str]:
    """Those of bitsandbytes, and of these the paged ones, which are CUDA's."""
    run = dict.fromkeys(name for arm in cfg.arms.values() for name in arm.stages)
    named = {name: own.name for name in run if (own := getattr(getattr(cfg.stages, name), "optim", None))}
    for stage, name in named.items():
        key = f"stages.{stage}.optim.name"
        if name != "adamw" and importlib.util.find_spec("bitsandbytes") is None:
            yield f"{key} {name} needs the package bitsandbytes (pip install bitsandbytes), or take adamw."
        elif name.startswith("paged") and (cfg.trainer.accelerator == "cpu" or not torch.cuda.is_available()):
            yield f"{key} {name} pages between a CUDA GPU and the host, and there is none. Take {name[6:]}."


def _devices(trainer: TrainerSettings, on_cpu: bool, count: int) -> Iterator[str]:
    most = max(2, os.cpu_count() or 1) if on_cpu else count
    if trainer.devices > most:
        what = f"processes of {os.cpu_count()} cores" if on_cpu else "devices"
        yield f"trainer.devices must be at most {most} on this machine ({what}), got {trainer.devices}."
    elif trainer.strategy == "single" and trainer.devices * trainer.num_nodes > 1:
        yield (
            f"trainer.strategy '{trainer.strategy}' uses one device, and trainer.devices x trainer.num_nodes is "
            f"{trainer.devices * trainer.num_nodes}. Set trainer.strategy=ddp or fsdp2, or one device."
        )


def _workers(cfg: ExperimentSettings) -> Iterator[str]:
    """Loaders that are far more than the cores; each is a process of its own, beside each device's."""
    cores = os.cpu_count() or 1
    further = ((f"evaluate.sets.{name}.data", own.data) for name, own in cfg.evaluate.sets.items())
    for key, section in (("data", cfg.data), ("evaluate.data", cfg.evaluate.data or {}), *further):
        workers, most = section.get("num_workers", 0), max(16, 4 * cores)
        if workers * cfg.trainer.devices > most:
            yield (
                f"{key}.num_workers x trainer.devices must be at most {most} on this machine ({cores} cores), got "
                f"{workers} x {cfg.trainer.devices}."
            )


def _raise(problems: Iterator[str] | list[str]) -> None:
    if found := list(problems):
        raise ConfigError("\n".join(found))
