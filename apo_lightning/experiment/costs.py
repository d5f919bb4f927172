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
from apo_lightning.reports.folder import SEED

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
        for path in sorted(run_folder.glob(f"*/seed*/{name}")):  # as they are, whatever an older table was made of
            seed = SEED.fullmatch(path.parent.name)
            if seed is None or not path.is_dir():
                continue
            facts = inventory.read(path) if (path / inventory.MANIFEST).is_file() else {}
            numbers = [facts.get(key) if isinstance(facts.get(key), int | float) else "" for key in FACTS]
            yield [path.parts[-3], int(seed[1]), name, path.resolve().name, *numbers]
