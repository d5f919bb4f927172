"""Which parts of a student FSDP2 spreads over devices one by one: a device then holds one of them whole at a time."""

from __future__ import annotations

from torch import nn

from apo_lightning.scoring import Parts


def blocks(model: nn.Module, *, tower: bool = True) -> dict[str, nn.Module]:
    """Decoder layers and the vision tower's blocks, by their names in ``model``.

    Args:
        model: image-text-to-text model, or its PEFT wrapper.
        tower: False leaves the tower's out, for where one process may run it while another need not (a cache of image
            features knows one image and not another): each block is gathered from all processes.
    """
    parts = Parts.of(model)
    inside = [*parts.decoder.layers, *(_tower(parts) if tower else ())]
    wanted = {id(block) for block in inside}
    return {name: module for name, module in model.named_modules() if id(module) in wanted}


def _tower(parts: Parts) -> list[nn.Module]:
    """Of the families whose tower is tried in two processes, Qwen's; the others' stay whole."""
    return list(getattr(getattr(parts.trunk, "visual", None), "blocks", ()))
