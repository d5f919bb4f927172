"""What a step of the pipeline is: it says what it reads and what its result depends on, and does its work once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from apo_lightning import leader
from apo_lightning.experiment import overall
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.once import once
from apo_lightning.experiment.stage_folder import StageFolder


class Step(ABC):
    """One link of an arm's chain, from files to files.

    Args:
        own: the arm and seed; the steps before this one are in ``own.done``.
        name: of the step, and of its folder.
    """

    def __init__(self, own: Context, name: str) -> None:
        self.own, self.name = own, name

    @abstractmethod
    def inputs(self) -> dict[str, Any]:
        """All that the result depends on, ``sources`` included: its key."""

    @abstractmethod
    def run(self, folder: StageFolder) -> dict[str, Any]:
        """Write the result; returns facts for its manifest. Every process runs it, and the leader writes."""

    def after(self, folder: StageFolder, *, stored: bool) -> None:
        """What is told once the result is there; ``stored``: it was there before."""
        return

    def make(self) -> StageFolder:
        """The folder with the result, made now unless it is in the store."""
        folder = self.own.folder.stage(self.name, self.inputs())
        stored = leader.from_leader(lambda: folder.done)
        once(folder, f"{self.own.arm} seed {self.own.seed}: {self.name}", lambda: self._work(folder))
        overall.RUN.end(stored=stored)
        self.after(folder, stored=stored)
        return folder

    def _work(self, folder: StageFolder) -> dict[str, Any]:
        """`run`, and who wrote where that was a server."""
        self.own.server = {}
        facts = self.run(folder)
        return {**facts, "server": self.own.server} if self.own.server else facts
