"""costs.csv: what each stage of each arm and seed cost, from the manifests of the stages.

Not in results.csv: that is the same whenever a run is repeated, and seconds are not. A stage that arms share has a line
under each of them; whoever adds up the whole run counts each value of ``stored`` once. A stage that was interrupted has
the seconds since it was taken up again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apo_lightning.files.formats import write_csv
from apo_lightning.hashing import inventory
from apo_lightning.reports.cost import COUNTED, costing
from apo_lightning.reports.folder import stage_folders

NAME = "costs.csv"
FACTS = ("studies", "seconds", *COUNTED)
"""Keys of a stage's manifest; a cell is empty where it has none, as of a stage that an earlier version made."""
COLUMNS = ("arm", "seed", "stage", "stored", *FACTS)


def write(run_folder: Path) -> Path:
    """One line an arm, seed and stage, of all that the folder shows; stages that are not in the store any more have
    none.

    Raises:
        ArtifactError: a stage's manifest is damaged.
    """
    return write_csv(run_folder / NAME, COLUMNS, _lines(run_folder))


def _lines(run_folder: Path) -> Iterator[list[Any]]:
    for name in costing(run_folder):
        for stage in stage_folders(run_folder, name):
            has_manifest = (stage.path / inventory.MANIFEST).is_file()
            facts = inventory.read(stage.path) if has_manifest else {}
            numbers = [facts.get(key) if isinstance(facts.get(key), int | float) else "" for key in FACTS]
            yield [stage.arm, stage.seed, name, stage.path.resolve().name, *numbers]
