"""How a stage is spread over devices, which is no part of its result: a stored one is found by another layout with as
many studies a step, and an interrupted fit goes on in it, whatever wrote its checkpoint.

What differs is rounding, and what is drawn inside a step (dropout, a loss that picks one teacher), which each process
draws for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict, set_optimizer_state_dict
from torch.optim import Optimizer

from apo_lightning.experiment.shard_files import load_all_safely
from apo_lightning.settings import FitSettings, OptimSettings, TrainerSettings

State = dict[str, Any]


def processes(settings: TrainerSettings) -> int:
    """Of a run, each with a device."""
    return settings.devices * settings.num_nodes


def of_plan(plan: FitSettings, settings: TrainerSettings, *, decided: bool) -> State:
    """Settings of a stage as its key has them: as if one device held all studies of a step.

    Args:
        decided: what is handed on depends on what is validated.

    Returns:
        the same as they stand, with the layout, where batches are counted: an epoch, or validations that decide.
    """
    own = asdict(plan)
    if own["optim"]["name"] == OptimSettings.name:  # came later, and says nothing new
        del own["optim"]["name"]
    many = processes(settings)
    if settings.limit_train_batches is not None or (decided and settings.val_check_interval is not None):
        return own | ({"processes": many} if many > 1 else {})
    return own | {"batch_studies": plan.batch_studies * many * plan.accumulate, "accumulate": 1}


def count_anew(checkpoint: State, accumulate: int) -> None:
    """Let a checkpoint's loops count batches of another size: all of the steps that it has done, ``accumulate`` each.
    Batches of a step that was cut off are forgotten, as their gradients are."""
    loop = checkpoint["loops"]["fit_loop"]
    loaders = [own for own in loop["state_dict"].get("combined_loader", ()) if "accumulate" in own]
    if not loaders or all(own["accumulate"] == accumulate for own in loaders):
        return
    for own in loaders:
        own["accumulate"] = accumulate
    steps = checkpoint["global_step"]
    for counts in (loop["epoch_loop.batch_progress"][name] for name in ("total", "current")):
        counts.update(dict.fromkeys(counts, steps * accumulate))
    loop["epoch_loop.state_dict"]["_batches_that_stepped"] = steps


def from_shards(path: Path) -> State:
    """A checkpoint's weights and moments out of a folder of shards (FSDP2), in the form of a single file.

    Raises:
        ArtifactError: it is damaged, or holds what would run.
    """
    found = load_all_safely(path)
    states = [found[name] for name in sorted(name for name in found if name.startswith("optimizer_"))]
    return {"state_dict": found["state_dict"], "optimizer_states": [_numbered(state) for state in states]}


def _numbered(state: State) -> State:
    """An optimiser's state by the places of its parameters, as torch writes it, from one by their names."""
    names = [name for group in state["param_groups"] for name in group["params"]]
    places = {name: place for place, name in enumerate(names)}
    groups = [group | {"params": [places[name] for name in group["params"]]} for group in state["param_groups"]]
    return {"state": {places[name]: value for name, value in state["state"].items()}, "param_groups": groups}


def spread(content: Mapping[str, Any], model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    """Put the weights of a single file into a model whose parameters lie in pieces (FSDP2), and the moments into its
    optimisers. Every process must call it.

    Args:
        content: has ``state_dict``, and ``optimizer_states`` if there are optimisers.
    """
    whole = StateDictOptions(full_state_dict=True, strict=False)
    set_model_state_dict(model, dict(content["state_dict"]), options=whole)
    for optimizer, state in zip(optimizers, content["optimizer_states"] if optimizers else (), strict=True):
        set_optimizer_state_dict(model, optimizer, _named(state, model, optimizer), options=whole)


def _named(state: State, model: nn.Module, optimizer: Optimizer) -> State:
    """The reverse of `_numbered`."""
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    names = [known[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    groups = [group | {"params": [names[place] for place in group["params"]]} for group in state["param_groups"]]
    return {"state": {names[place]: value for place, value in state["state"].items()}, "param_groups": groups}
