"""What must hold where a server writes for the student (``student.server``)."""

from __future__ import annotations

from collections.abc import Iterator

from apo_lightning.collecting.guard import check_address
from apo_lightning.collecting.secrets import check_name
from apo_lightning.config.training_rules import Problem
from apo_lightning.errors import ConfigError
from apo_lightning.settings import DecodingSettings, ExperimentSettings

KEY = "student.server"


def broken(cfg: ExperimentSettings) -> Iterator[Problem]:
    """See `rules.broken`, of which this is a part."""
    server, kind = cfg.student.server, cfg.student.adapter.kind
    try:
        check_name(server.key, f"{KEY}.key")
    except ConfigError as error:
        yield (*KEY.split("."), "key"), str(error).rstrip(".")
    if server.url is None:
        return
    try:
        check_address(server.url, KEY)
    except ConfigError as error:
        yield (*KEY.split("."), "url"), str(error).replace("base_url", "url").rstrip(".")
    if kind != "lora":
        why = (
            "has no adapter to load" if kind == "full" else "learns over 4-bit weights, which the server does not hold"
        )
        text = f"{KEY}.url must be null where student.adapter.kind is {kind}: such a student {why}"
        yield (*KEY.split("."), "url"), text, "Train with student.adapter.kind=lora, or write in this process."
    sections = {"evaluate": cfg.evaluate, **{f"stages.{name}": own for name, own in vars(cfg.stages).items()}}
    for name, own in sections.items():
        if isinstance(own, DecodingSettings) and own.no_repeat_ngram_size:
            key = f"{name}.no_repeat_ngram_size"
            text = (
                f"{key} must be 0 where a server writes ({KEY}.url), which cannot do it, got {own.no_repeat_ngram_size}"
            )
            yield tuple(key.split(".")), text, "Take repetition_penalty, or write in this process."
