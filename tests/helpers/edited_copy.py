"""Run in a copy of the packages: edits one file after the other, and prints which stages would be made anew."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from apo_lightning.hashing import sources
from tests.helpers.stage_keys import begin_anew, changed, stage_keys


def edits(root: Path, wanted: Mapping[str, str]) -> dict[str, list[str]]:
    """Stages whose keys another process would find changed, for each edit.

    Args:
        root: of the copy.
        wanted: ``file`` or ``file:what`` to the text that is put behind what stands in the file.
    """
    plain, found = stage_keys(), {}
    for name, more in wanted.items():
        path = root / name.split(":")[0]
        text = path.read_text("utf-8")
        path.write_text(text + more, "utf-8")
        begin_anew()
        found[name] = sorted(changed(plain, stage_keys()))
        path.write_text(text, "utf-8")
    return found


if __name__ == "__main__":
    here = Path(sources.__file__).parents[2]
    assert here == Path(sys.argv[1]).resolve(), f"the copy is not what was imported, but {here}"
    json.dump(edits(here, json.load(sys.stdin)), sys.stdout)
