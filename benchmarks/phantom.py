"""How many phantom studies per second one core draws, at the size the experiments use and at full size."""

from __future__ import annotations

import time

from rich.console import Console
from rich.table import Table

from apo_lightning.phantom.drawing import draw
from apo_lightning.phantom.world import cases


def studies_a_second(size: int, count: int = 300) -> float:
    """Drawn studies per second of processor time, after one study of warm-up."""
    found = cases(0, count)
    draw(found[0], size)
    began = time.process_time()
    for case in found:
        draw(case, size)
    return count / (time.process_time() - began)


def main() -> None:
    table = Table("image side", "studies per second of one core")
    for size, count in ((112, 300), (224, 150), (448, 40)):
        table.add_row(f"{size} px", f"{studies_a_second(size, count):.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
