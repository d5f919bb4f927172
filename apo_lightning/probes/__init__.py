"""What a student knows beside the one text that it writes: how likely it finds statements, what most of its samples
say, and whether it sees which image came first. What is counted of that is in `metrics.probes`."""

from apo_lightning.probes.asked import Asked
from apo_lightning.probes.run import probe

__all__ = ["Asked", "probe"]
