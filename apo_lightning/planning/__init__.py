"""What an experiment would need, memory by part and time by stage, before anything is loaded."""

from apo_lightning.planning.cards import CARDS, Card
from apo_lightning.planning.lengths import Lengths, known
from apo_lightning.planning.stages import FILL, Plan, plan, remedies

__all__ = ["CARDS", "FILL", "Card", "Lengths", "Plan", "known", "plan", "remedies"]
