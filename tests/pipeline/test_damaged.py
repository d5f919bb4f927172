"""Each kind of file in a store and a run folder, damaged in each way: never a traceback. The same command either makes
it again, and the table is the same, or names the file and the command that removes it, after which it does.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from apo_lightning.cli import commands
from tests.pipeline.conftest import ROOT

FILES = {
    "stage manifest": "store/spd-*/manifest.json",
    "stage config": "store/spd-*/config.yaml",
    "texts": "store/collect-*/trajectories.jsonl",
    "student record": "store/apo-*/student/student.json",
    "adapter": "store/spd-*/student/adapters/0/adapter_model.safetensors",
    "adapter config": "store/spd-*/student/adapters/0/adapter_config.json",
    "metrics": "store/apo-*/metrics.jsonl",
    "preferred": "store/self_distill-*/preferred.jsonl",
    "predictions": "store/evaluate-*/predictions.jsonl",
    "scores": "store/evaluate-*/scores.json",
    "config": "smoke/config.yaml",
    "manifest": "smoke/manifest.json",
    "splits": "smoke/splits.csv",
    "results": "smoke/results.csv",
    "samples": "smoke/samples/samples.json",
    "report": "smoke/report.html",
    "figure": "smoke/figures/rewards.png",
    "link": "smoke/apo_listwise/seed0/spd",
    "seed": "smoke/apo_listwise/seed0",
    "arm": "smoke/apo_listwise",
}


def gone(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def put(path: Path, content: bytes) -> None:
    gone(path)
    path.write_bytes(content)


def cut(path: Path) -> None:
    put(path, path.read_bytes()[: path.stat().st_size // 2] if path.is_file() else b"cut")


def zeros(path: Path) -> None:
    put(path, bytes(path.stat().st_size))


def flip(path: Path) -> None:
    """One bit in the middle, where a size and a form stay as they were."""
    if path.is_file():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


def fewer(path: Path) -> None:
    """Half of its lines, each of them whole."""
    if path.is_file():
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[: len(lines) // 2]))


def folder(path: Path) -> None:
    gone(path)
    path.mkdir()
    (path / "mine.txt").write_text("mine")


def nowhere(path: Path) -> None:
    gone(path)
    path.symlink_to("gone")


def stray(path: Path) -> None:
    """Names beside it that are not ours."""
    for name in ("notes", "seed0 (copy)", "seedX", "seed00", ".DS_Store"):
        (path.parent / name).mkdir(exist_ok=True)
        (path.parent / name / "evaluate").mkdir()
        (path.parent / name / "evaluate" / "scores.json").write_text("[")


DAMAGE: dict[str, Callable[[Path], None]] = {
    "cut off": cut,
    "empty": lambda path: put(path, b""),
    "zeros": zeros,
    "a flipped bit": flip,
    "fewer lines": fewer,
    "text": lambda path: put(path, b"not ours\n" * 9),
    "json": lambda path: put(path, b'{"a": [1]}\n'),
    "json list": lambda path: put(path, b"[1, 2]\n"),
    "not utf-8": lambda path: put(path, b"\xff\xfe\x00{"),
    "a folder": folder,
    "a dangling link": nowhere,
    "missing": gone,
    "stray names": stray,
}
QUICK = (
    ("stage manifest", "zeros"),
    ("stage manifest", "a folder"),
    ("stage manifest", "json list"),
    ("adapter", "zeros"),
    ("metrics", "text"),
    ("preferred", "cut off"),
    ("scores", "missing"),
    ("config", "not utf-8"),
    ("results", "a folder"),
    ("link", "a folder"),
    ("seed", "text"),
    ("seed", "stray names"),
    ("figure", "a dangling link"),
    ("adapter", "a flipped bit"),
    ("preferred", "fewer lines"),
    ("texts", "a flipped bit"),
    ("metrics", "fewer lines"),
    ("samples", "fewer lines"),
)
SLOW = [(file, damage) for file in FILES for damage in DAMAGE if (file, damage) not in QUICK]


def command(words: list[str], runs: Path) -> list[str]:
    given = [
        *words,
        f"runs_dir={runs}",
        "only=[apo_listwise]",
        "wandb.mode=disabled",
        "stages.spd.steps=2",
        "stages.apo.steps=2",
    ]
    return ["run", str(ROOT / "experiments/smoke.yaml"), *given]


@pytest.fixture(scope="module")
def calm(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder of an undisturbed run."""
    runs = tmp_path_factory.mktemp("calm") / "runs"
    assert commands.main(command(words, runs)) == 0
    return runs


def run(words: list[str], runs: Path, capsys: pytest.CaptureFixture) -> tuple[int, str]:
    capsys.readouterr()
    status = commands.main(command(words, runs))
    return status, " ".join(capsys.readouterr().err.split())


def removal(said: str, path: Path) -> str:
    """The command that an error offers, which touches the damaged file or what holds it and nothing else."""
    _, rest = re.split(r"\brm ", said, maxsplit=1)  # a setting may end in these letters
    offered = "rm " + rest.split(")")[0].split(", or")[0].split(", and")[0].rstrip(".")
    named = Path(shlex.split(offered)[-1])
    assert named == path or named in path.absolute().parents or named in path.resolve().parents, said
    return offered


def damaged(calm: Path, tmp_path: Path, file: str, damage: str) -> tuple[Path, Path]:
    """A copy of the runs in which one file is damaged, and that file."""
    runs = Path(shutil.copytree(calm, tmp_path / "runs", symlinks=True))
    [path] = runs.glob(FILES[file])
    DAMAGE[damage](path)
    return runs, path


@pytest.mark.parametrize(("file", "damage"), [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)])
def test_a_damaged_file_is_made_again_or_named(
    calm: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture, file: str, damage: str
) -> None:
    runs, path = damaged(calm, tmp_path, file, damage)
    status, said = run(words, runs, capsys)
    if status == 0:
        assert (runs / "smoke/results.csv").read_bytes() == (calm / "smoke/results.csv").read_bytes()
    else:
        assert status == 2 and "error: " in said and removal(said, path)
    assert not list(runs.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize(("file", "damage"), QUICK)
def test_after_the_command_that_is_offered_all_is_made_again(
    calm: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture, file: str, damage: str
) -> None:
    runs, path = damaged(calm, tmp_path, file, damage)
    status, said = run(words, runs, capsys)
    if status:
        subprocess.run(removal(said, path), shell=True, check=True)
        assert run(words, runs, capsys)[0] == 0
    assert (runs / "smoke/results.csv").read_bytes() == (calm / "smoke/results.csv").read_bytes()
