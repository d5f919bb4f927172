"""What a student knows beside the one text that it writes: how likely it finds statements, what most of its samples
say, and whether it sees which image came first."""

from apo_lightning.probes.asked import Asked
from apo_lightning.probes.run import FILES, of_probe, probe

__all__ = ["FILES", "Asked", "of_probe", "probe"]
