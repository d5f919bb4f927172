"""A run whose student writes through a server ends with the texts of a run that writes by itself, also after a kill.

The server (`tests.helpers.vllm_server`) has the real nano student: its base, and the adapters by plain peft.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from apo_lightning import config
from apo_lightning.errors import ServerError
from apo_lightning.experiment.run import run
from apo_lightning.files.jsonlines import parse
from apo_lightning.models.processor import NANO
from tests.helpers.vllm_server import VLLMServer
from tests.pipeline.conftest import ROOT, SMALL

SMOKE = ROOT / "experiments" / "smoke.yaml"
WORDS = (*SMALL, "evaluate.max_new_tokens=40", "stages.self_distill.max_new_tokens=40", "wandb.mode=disabled")
WRITTEN = ("self_distill/preferred.jsonl", "evaluate/predictions.jsonl")


def made(runs: Path, *more: str) -> Path:
    return run(config.load(SMOKE, [*WORDS, "only=[apo_listwise]", f"runs_dir={runs}", *more]))


def text(folder: Path, file: str) -> str:
    return (folder / "apo_listwise/seed0" / file).read_text()


def manifest(folder: Path, stage: str) -> dict[str, Any]:
    return json.loads(text(folder, f"{stage}/manifest.json"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that writes by itself."""
    return made(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def server() -> Iterator[VLLMServer]:
    running = VLLMServer(NANO)
    yield running
    running.close()


def test_the_texts_are_those_of_the_student(plain: Path, server: VLLMServer, tmp_path: Path) -> None:
    """SPD's student writes t+ and APO's answers, each by its own name; nothing stays on the server or in the folder."""
    folder = made(tmp_path, f"student.server.url={server.url}", "student.server.concurrency=3")
    for file in WRITTEN:
        assert text(folder, file) == text(plain, file), file
    spd, apo = server.ever
    assert spd != apo and server.chats == [spd] * 18 + [apo] * 6
    assert server.adapters == {} and server.calls[-1] == f"unload {apo}"
    assert 1 < server.most <= 3
    assert not list(folder.parent.rglob("adapter_model.safetensors.*")) and not list(tmp_path.rglob("parts"))
    for stage, name in (("self_distill", spd), ("evaluate", apo)):
        told = manifest(folder, stage)
        assert told["server"]["model"] == name and told["server"]["version"] == "0.0-loopback"
        assert told["inputs_sha256"] == manifest(plain, stage)["inputs_sha256"]
    assert "server" not in manifest(plain, "self_distill") and "server" not in manifest(folder, "apo")


def test_every_setting_of_decoding_is_sent(server: VLLMServer, tmp_path: Path) -> None:
    """Drawn texts have a seed each, by study and sample, whoever is asked beside them."""
    more = ["sample=true", "temperature=0.7", "top_p=0.9", "top_k=20", "repetition_penalty=1.1", "samples=2"]
    words = [f"stages.self_distill.{each}" for each in more]
    words += ["student.max_pixels=12544", "student.min_pixels=12544", "data.train=4", "data.val=2", "data.test=2"]
    made(tmp_path, f"student.server.url={server.url}", *words, "stages.spd.steps=1", "stages.apo.steps=1")
    drawn = server.bodies[:16]
    own = {key: drawn[0][key] for key in ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens")}
    assert own == {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "repetition_penalty": 1.1, "max_tokens": 40}
    assert len({body["seed"] for body in drawn}) == 16
    assert all(body["stop_token_ids"] == [2] and body["skip_special_tokens"] for body in server.bodies)
    assert server.bodies[-1]["temperature"] == 0 and server.bodies[-1]["top_k"] == -1
    assert all(body["mm_processor_kwargs"] == {"min_pixels": 12544, "max_pixels": 12544} for body in server.bodies)


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(plain: Path, server: VLLMServer, tmp_path: Path) -> None:
    """What was filed is not asked again, and the adapter that the dead run left is taken back first."""
    words = ["run", str(SMOKE), *WORDS, "only=[apo_listwise]", f"runs_dir={tmp_path}"]
    words += [f"student.server.url={server.url}", "student.server.concurrency=1"]
    killed = subprocess.Popen([sys.executable, "-m", "apo_lightning", *words], cwd=ROOT)
    server.client, server.kill_at = killed.pid, 11
    assert killed.wait() == -signal.SIGKILL
    (left,) = server.adapters
    (parts,) = tmp_path.glob("store/self_distill-*/parts")
    filed = [
        study for part in parts.glob("0*.json") for study in parse(part.read_bytes(), keys=("studies",))["studies"]
    ]
    assert len(filed) in (4, 8)
    asked = len(server.bodies)
    folder = made(tmp_path, f"student.server.url={server.url}")
    for file in WRITTEN:
        assert text(folder, file) == text(plain, file), file
    again = [body["messages"] for body in server.bodies[asked : asked + 18 - len(filed)]]
    assert server.chats[asked + 18 - len(filed)] != left and set(server.chats[asked:][: len(again)]) == {left}
    assert server.adapters == {}


def test_a_run_goes_on_without_its_server(plain: Path, server: VLLMServer, tmp_path: Path) -> None:
    """A server that ends in the middle is said in one sentence, and what it wrote is kept."""
    server.fail = [0] * 9 + [400]
    with pytest.raises(ServerError, match=r"gave no answer about study '.*': status 400: scripted.*kept: run again"):
        made(tmp_path, f"student.server.url={server.url}", "student.server.concurrency=1")
    assert server.adapters == {}
    folder = made(tmp_path)
    for file in WRITTEN:
        assert text(folder, file) == text(plain, file), file
    assert manifest(folder, "self_distill")["server"]["base"] == str(NANO)


@pytest.mark.slow
def test_a_whole_smoke_run(tmp_path: Path, server: VLLMServer) -> None:
    """All arms at the size that ships: every text of t+ and of every evaluation is the same."""
    given = ["wandb.mode=disabled"]
    calm = run(config.load(SMOKE, [*given, f"runs_dir={tmp_path / 'plain'}"]))
    served = run(config.load(SMOKE, [*given, f"runs_dir={tmp_path / 'served'}", f"student.server.url={server.url}"]))
    files = [path.relative_to(calm) for name in WRITTEN for path in calm.glob(f"*/seed0/{name}")]
    assert len(files) == 4 and len(server.bodies) == 80 + 3 * 32
    assert [str(file) for file in files if (calm / file).read_text() != (served / file).read_text()] == []
