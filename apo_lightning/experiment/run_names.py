"""What a W&B run says of itself: its name, its tags, and as its config the settings of its arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apo_lightning import config
from apo_lightning.hashing.contents import digest
from apo_lightning.settings import ExperimentSettings

LONGEST_TAG = 64
"""Characters; W&B refuses longer ones."""


@dataclass(frozen=True)
class Who:
    """Whose stage it is."""

    experiment: str
    arm: str
    seed: int

    def key(self, *names: str) -> str:
        """``<arm>/seed<k>/...``: the name of a run, and of what a trial logs."""
        return "/".join((self.arm, f"seed{self.seed}", *names))

    def tags(self, stage: str) -> list[str]:
        return tags(self.experiment, self.arm, f"seed{self.seed}", stage)


def tags(*names: str) -> list[str]:
    """Each once, and none too long."""
    cut = (n if len(n) <= LONGEST_TAG else f"{n[: LONGEST_TAG - 9]}-{digest(n)[:8]}" for n in names)
    return list(dict.fromkeys(cut))


def arm_config(resolved: Mapping[str, Any], who: Who, stage: str) -> dict[str, Any]:
    """The config of a run: the arm's resolved settings, with ``arm``, ``label``, ``arm_stages``, ``curve``, ``seed``
    and ``stage`` in place of the settings of all arms."""
    own = {name: value for name, value in resolved.items() if name != "arms"}
    return own | _of_arm(resolved, who.arm) | {"arm": who.arm, "seed": who.seed, "stage": stage}


def run_config(arms: Mapping[str, ExperimentSettings]) -> dict[str, Any]:
    """The config of a run that arms share, from their resolved settings: what is the same in all of them, and under
    ``arms`` by name what is not. Of one arm it holds everything."""
    full = {arm: config.to_dict(own) for arm, own in arms.items()}
    own = {arm: {k: v for k, v in each.items() if k != "arms"} | _of_arm(each, arm) for arm, each in full.items()}
    if len(own) == 1:
        return {**next(iter(own.values())), "arm": next(iter(own))}
    first = next(iter(own.values()))
    common = {name: value for name, value in first.items() if all(each.get(name) == value for each in own.values())}
    return common | {"arms": {arm: {k: v for k, v in each.items() if k not in common} for arm, each in own.items()}}


def _of_arm(resolved: Mapping[str, Any], arm: str) -> dict[str, Any]:
    own = resolved["arms"][arm]
    return {"label": own["label"], "arm_stages": own["stages"], "curve": own["curve"]}
