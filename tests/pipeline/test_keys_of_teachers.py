"""A run whose teachers were asked over HTTP with a key, by a server that repeats the key wherever it can."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from apo_lightning import config
from apo_lightning.cli.commands import main
from apo_lightning.collecting import batch, collect, secrets
from apo_lightning.collecting.guard import RULE
from apo_lightning.collecting.questions import Outcome
from apo_lightning.collecting.request import words_of
from apo_lightning.errors import ConfigError
from apo_lightning.experiment import asking
from apo_lightning.experiment.run import run
from apo_lightning.settings import ExperimentSettings
from data_modules import DATA
from tests.helpers import offline_wandb
from tests.pipeline.conftest import ROOT

KEY = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
"""In no provider's form: what is masked is masked since it was read."""


class Parrot:
    """Answers with the headers that it was sent, as text, as error, and as header; every third time with an error."""

    def __init__(self) -> None:
        self.asked, self.location = 0, ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                outer.asked += 1
                key = self.headers["authorization"]
                message = {"content": f"There is edema. {key}"}
                body = {"id": key, "choices": [{"message": message, "finish_reason": "stop"}], "model": key}
                status = 307 if outer.location else (500 if outer.asked % 3 == 0 else 200)
                error = {"error": {"message": f"Incorrect API key provided: {key}", "code": "x"}}
                sent = json.dumps(body if status == 200 else error).encode()
                self.send_response(status)
                for name, value in {"content-length": str(len(sent)), "x-request-id": key}.items():
                    self.send_header(name, value)
                if outer.location:
                    self.send_header("location", outer.location)
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def parrot() -> Iterator[Parrot]:
    own = Parrot()
    yield own
    own.server.shutdown()
    own.server.server_close()


Load = Callable[..., ExperimentSettings]


@pytest.fixture
def load(words: list[str], tmp_path: Path, parrot: Parrot, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    own = {
        "extends": [str(ROOT / "experiments/base/nano.yaml"), str(ROOT / "experiments/base/stages_nano.yaml")],
        "name": "asked",
        "data": {"name": "phantom"},
        "teachers": {
            name: {
                "kind": "api",
                "base_url": parrot.url,
                "model": name,
                "key": "TEACHER_KEY",
                "folder": str(tmp_path / "collected"),
                "backoff": 0.01,
            }
            for name in ("one", "two")
        },
        "arms": {"spd": {"label": "SPD", "stages": ["spd"]}},
    }
    (tmp_path / "asked.yaml").write_text(yaml.safe_dump(own))
    given = [*words, f"runs_dir={tmp_path}/runs", "stages.spd.steps=2", "evaluate.likelihood.form='off'"]
    return lambda *more: config.load(tmp_path / "asked.yaml", [*given, *more])


def ask(cfg: ExperimentSettings) -> dict[str, Outcome]:
    plans = asking.plans(asking.asked(cfg))
    with collect.alone([plan.journal for plan in plans], print):
        return collect.collect(plans, {}, print).outcomes


def test_a_key_stands_in_no_file_and_no_log(
    load: Load,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        for name in ("openai", "httpx2", "httpcore2"):
            monkeypatch.setattr(collect, "QUIET", ())
            logging.getLogger(name).setLevel(logging.DEBUG)
        outcomes = ask(load())
        monkeypatch.setenv("WANDB_MODE", "offline")
        with offline_wandb.new_process():
            folder = run(load("wandb.mode=offline"))
    assert {name: len(own.answers) for name, own in outcomes.items()} == {"one": 18, "two": 18}
    journal = (tmp_path / "collected" / "one.jsonl").read_text()
    assert f"There is edema. Bearer {secrets.MASK}" in journal
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files) and folder / "report.html" in files
    assert [str(path) for path in files if KEY.encode() in path.read_bytes()] == []
    said = capfd.readouterr()
    assert KEY not in said.out + said.err + caplog.text and "openai" in {
        one.name.split(".")[0] for one in caplog.records
    }


def test_a_redirect_ends_asking(load: Load, parrot: Parrot) -> None:
    parrot.location = "https://example.com/v1/chat/completions"
    outcomes = ask(load())
    for own in outcomes.values():
        assert "refused: a request meant for 127.0.0.1" in own.ended and not own.answers


def test_credentialed_images_stay_here(load: Load, monkeypatch: pytest.MonkeyPatch, parrot: Parrot) -> None:
    monkeypatch.setattr(DATA["phantom"], "credentialed", True, raising=False)
    assert len(asking.asked(load())) == 2  # to this machine
    there = [f"teachers.{name}.base_url=https://api.openai.com/v1" for name in ("one", "two")]
    with pytest.raises(ConfigError, match=r"teachers\.one would send images of phantom to api\.openai\.com") as error:
        asking.asked(load(*there))
    assert RULE in str(error.value) and "acknowledge_sending=[phantom]" in str(error.value)
    with pytest.raises(ConfigError, match="would send"):  # showing is not sending
        asking.asked(load(*there, "acknowledge=[phantom]"))
    with pytest.raises(ConfigError, match="would send"):  # litellm sends where it likes
        asking.asked(load("teachers.one.client=litellm"))
    assert len(asking.asked(load(*there, "acknowledge_sending=[phantom]"))) == 2
    with pytest.raises(ConfigError, match=r"acknowledge_sending must name data sets of the experiment, got 'fantom'"):
        load("acknowledge_sending=[fantom]")
    assert parrot.asked == 0


@pytest.mark.parametrize(
    "word",
    [
        "teachers.one.key=sk-live-0123456789abcdef",
        f"teachers.one.key={KEY}",
        "teachers.one.key=[sk-live-0123456789abcdef]",
        "teachers.one.base_url=https://me:sk-live-0123456789abcdef@example.com/v1",
        "teachers.one.base_url=https://example.com/v1?key=sk-live-0123456789abcdef",
        "teachers.one.extra={api_key: 0a1b2c3d4e5f60718293a4b5c6d7e8f9}",
        "teachers.one.extra={headers: {Authorization: Bearer sk-live-0123456789abcdef}}",
        "teachers.one.extra={metadata: {note: sk-live-0123456789abcdef}}",
        "teachers.one.api_key=sk-live-0123456789abcdef",
        "sk-live-0123456789abcdef",
    ],
)
def test_a_key_in_the_settings_is_refused_and_not_repeated(
    load: Load, tmp_path: Path, word: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(tmp_path / "asked.yaml"), "data.train=8"]) == 0, capfd.readouterr().err
    assert main(["check", str(tmp_path / "asked.yaml"), "data.train=8", word]) == 2
    said = capfd.readouterr()
    assert "sk-live" not in said.out + said.err and KEY not in said.out + said.err
    with pytest.raises(ConfigError) as error:
        load(word)
    assert "sk-live" not in str(error.value) and KEY not in str(error.value)


def test_texts_say_their_prompt_and_labels_are_told(load: Load, tmp_path: Path) -> None:
    both = load("teachers.one.prompt=explain_labels")
    ask(both)
    first = json.loads((tmp_path / "collected/one.jsonl").read_text().splitlines()[0])
    assert first["prompt"] == "explain_labels"
    (plan, _) = asking.plans(asking.asked(both))
    said = words_of(plan.endpoint, plan.items[0].study, plan.items[0].findings)
    assert "present: " in said and all(name.replace("_", " ") in said for name in plan.items[0].findings)
    folder = run(load("teachers.one.prompt=explain_labels", "wandb.mode=disabled", "evaluate.prompt=diagnose"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["teacher_prompts"] == {"one": {"explain_labels": 18}, "two": {"diagnose": 18}}
    assert manifest["told_labels"] == ["one"] and "SPD †" in (folder / "report.md").read_text()
    batch.refuse_under_way(asking.plans(asking.asked(both)))
