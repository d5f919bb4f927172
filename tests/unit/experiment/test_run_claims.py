"""What killed runs leave in a run folder is taken away by the next one; what living ones hold is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from apo_lightning.experiment.run_folder import RUNNING, RunFolder
from tests.pipeline.conftest import ROOT

KILLED = """
import os, signal, sys
from pathlib import Path
from apo_lightning.experiment.run_folder import RunFolder
with RunFolder(Path(sys.argv[1]), "smoke").claim({"name": "smoke"}, "name: smoke", print):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_nothing_behind_the_next(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False)
    folder = RunFolder(tmp_path, "smoke")
    [dead] = folder.path.glob(RUNNING)
    with folder.claim({"name": "smoke"}, "name: smoke", print):
        assert not dead.exists()
        with folder.claim({"name": "smoke"}, "name: smoke", print):  # beside it
            assert len(list(folder.path.glob(RUNNING))) == 2
    assert [path.name for path in folder.path.iterdir()] == ["config.yaml"]
