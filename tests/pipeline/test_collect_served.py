"""Collecting from a server that nobody here wrote: `transformers serve` with a small random image model, image in, text
out, and the run that reads it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from apo_lightning.cli import main
from tests.helpers import students

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address of the server, and the name of its model."""
    from transformers.cli.serve import Serve

    folder = str(students.save(tmp_path_factory.mktemp("model"), "llava"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Serve(force_model=folder, host="127.0.0.1", port=port, device="cpu", non_blocking=True)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx2.get(f"{url}/health", timeout=1)
                break
            except httpx2.HTTPError:
                time.sleep(0.1)
        yield f"{url}/v1", folder
    finally:
        server.kill_server()


def _experiment(folder: Path, url: str, model: str, **more: Any) -> str:
    """A file like the ones that ship."""
    teacher = {"kind": "api", "base_url": url, "model": model, "folder": str(folder / "collected"), "concurrency": 2}
    teacher |= {"max_tokens": 12, "image_size": 32, "seed": 0, "timeout": 60, **more}
    root = Path(__file__).parents[2] / "experiments"
    (folder / "asked.yaml").write_text(
        yaml.safe_dump(
            {
                "extends": [str(root / "base" / f"{name}.yaml") for name in ("nano", "stages_nano")],
                "name": "asked",
                "data": {"name": "phantom", "train": 3, "val": 2, "test": 2},
                "teachers": {"llava": teacher},
                "stages": {"spd": {"steps": 1}, "apo": {"steps": 1}},
                "evaluate": {"likelihood_studies": 2},
                "arms": {"spd_mt": {"label": "SPD", "stages": ["spd"]}},
            }
        )
    )
    return str(folder / "asked.yaml")


def test_texts_of_a_served_model_are_collected(
    served: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _experiment(tmp_path, *served)
    assert main(["collect", file, "--dry-run"]) == 0
    assert not (tmp_path / "collected").exists()
    assert main(["collect", file, "--export", str(tmp_path / "texts.jsonl")]) == 0, capsys.readouterr()
    lines = _lines(tmp_path / "collected" / "llava.jsonl")
    assert len({line["study"] for line in lines}) == len(lines) == 7
    assert all(line["output_tokens"] and line["input_tokens"] > 10 and line["finish"] for line in lines)
    assert _by_study(tmp_path / "texts.jsonl") == {line["study"]: line["text"] for line in lines}
    words = f"teachers={{llava: {{kind: recorded, path: {tmp_path / 'texts.jsonl'}}}}}"
    assert main(["check", file, words]) == 0


@pytest.mark.slow
def test_a_run_reads_what_was_collected_and_depends_on_that_alone(
    served: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _experiment(tmp_path, *served)
    assert main(["run", file]) == 2
    assert "7 of 7 studies have no answer" in " ".join(capsys.readouterr().err.split())
    assert main(["collect", file]) == 0
    assert main(["run", file]) == 0, capsys.readouterr()
    collected = next(iter((tmp_path / "runs" / "store").glob("collect-*/trajectories.jsonl")))
    assert _by_study(collected) == _by_study(tmp_path / "collected" / "llava.jsonl")
    before = _stages(tmp_path)
    _experiment(tmp_path, *served, concurrency=3, price={"input": 1, "output": 1}, max_tokens=20)
    assert main(["run", file, "name=again"]) == 0, capsys.readouterr()
    assert _stages(tmp_path) == before


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _by_study(path: Path) -> dict[str, str]:
    return {line["study"]: line["text"] for line in _lines(path)}


def _stages(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in (folder / "runs" / "store").glob("*/manifest.json"))
