"""Whether a loss belongs to the stage that names it: said before anything else that is then wrong with its settings."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from apo_lightning.config import shape
from apo_lightning.config.check import settings_of
from apo_lightning.config.layers import Layers, Word
from apo_lightning.config.registered import LOSSES, enclosing, get
from apo_lightning.settings import ArmSettings

TRAINED = ("spd", "apo")
"""The paper's stages that have a loss."""


def misplaced(layers: Layers) -> dict[str, str]:
    """Stage to a sentence that says where its loss belongs, for stages whose loss needs what they do not provide."""
    found, further = {}, [name for name in shape.named(layers.tree) if shape.stage_of(name)]
    trained = (*TRAINED, *(name for name in further if hasattr(shape.stages()[name], "provides")))
    for stage in trained:
        key = ("stages", stage, "loss", "name")
        name, registry = str(get(layers.tree, key)), LOSSES.registry()
        needed = _needs(registry[name]) if name in registry else frozenset()
        if not needed:
            continue
        provided = {each: shape.stages()[each].provides for each in trained}
        if missing := sorted(needed - provided[stage]):
            homes = [each for each in trained if needed <= provided[each] and not shape.is_again(each)]
            fitting = sorted(each for each, kind in registry.items() if _needs(kind) <= provided[stage])
            found[stage] = (
                f"stages.{stage}.loss: '{name}' is a loss for {' and '.join(homes) or 'no stage'}: it needs "
                f"{', '.join(missing)}, which stage '{stage}' does not provide ({layers.origin(key)}). "
                f"Losses for this stage: {', '.join(fitting)}."
            )
    return found


def _needs(kind: type) -> frozenset[str]:
    """As `losses.base.needs`, which may not be imported before there is something to ask of it."""
    call = kind.__dict__.get("__call__") or getattr(kind, "__call__", None)  # noqa: B004
    parameters = inspect.signature(call).parameters.values() if inspect.isfunction(call) else ()
    return frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def unused(laid: dict[str, Layers], run: dict[str, ArmSettings], words: Sequence[Word]) -> list[str]:
    """Sentences about settings of a loss that the loss of no arm of this run takes.

    Args:
        laid: each arm of ``run`` with its ``set``.
    """
    problems = []
    for word in words:
        kind, place = enclosing(word.path) or (None, ())
        arms = [name for name, arm in run.items() if kind is LOSSES and place[1] in arm.stages]
        names = {name: str(get(laid[name].tree, (*place, "name"))) for name in arms}
        classes = {name: kind.registry()[loss] for name, loss in names.items() if loss in kind.registry()}
        setting = word.path[-1]
        if setting == "name" or not classes or any(setting in settings_of(cls) for cls in classes.values()):
            continue
        takes = {names[name]: ", ".join(settings_of(cls)) or "nothing" for name, cls in classes.items()}
        said = "; ".join(f"'{loss}' takes {settings}" for loss, settings in takes.items())
        problems.append(
            f"No arm of this run has a loss with the setting '{'.'.join(word.path)}' (command line): {said}."
        )
    return problems
