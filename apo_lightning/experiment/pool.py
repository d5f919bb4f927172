"""Which teachers a run is about."""

from __future__ import annotations

from collections.abc import Mapping

from apo_lightning.settings import ExperimentSettings


def heard(arms: Mapping[str, ExperimentSettings]) -> list[str]:
    """Teachers that some arm may hear: all of its file, or those that its ``pool.select`` lists. What is said of the
    teachers of a run (their rows, their vote, their drift) is said of these. An arm that trains nothing hears nobody;
    where there is no other, all are meant.

    Args:
        arms: name to resolved settings of those that are run.
    """
    idle = {name for name, cfg in arms.items() if name in cfg.arms and not cfg.arms[name].stages}
    trained = [cfg for name, cfg in arms.items() if name not in idle] or list(arms.values())
    chosen = {name for cfg in trained for name in (_listed(cfg) or cfg.teachers)}
    return list(dict.fromkeys(name for cfg in trained for name in cfg.teachers if name in chosen))


def _listed(cfg: ExperimentSettings) -> list[str]:
    return cfg.pool.select if isinstance(cfg.pool.select, list) else []
