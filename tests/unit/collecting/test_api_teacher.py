"""A teacher behind an address: its settings, and what a run reads of its answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apo_lightning.cli import main
from apo_lightning.collecting.endpoint import Endpoint, Price
from apo_lightning.collecting.journal import Answer
from apo_lightning.collecting.limits import read_budget
from apo_lightning.collecting.request import asks, words_of
from apo_lightning.collecting.sizes import Sizes, guess
from apo_lightning.errors import ConfigError, DataError
from apo_lightning.files.jsonlines import read as read_lines
from apo_lightning.teachers.api import Api
from apo_lightning.types import Study

HERE = {"base_url": "http://127.0.0.1:9/v1", "model": "tiny"}
STUDIES = [Study(f"s{i}", f"p{i}", "train" if i < 3 else "test", (), {"edema": 1.0}) for i in range(4)]
PLACES = [0.0, 0.5, 1.0, 0.0]


def _api(folder: Path, **more: Any) -> Api:
    return Api(**{**HERE, "name": "gpt5", "folder": str(folder), "listed": ["edema"], **more})


def _answered(own: Api, *studies: Study, **more: Any) -> None:
    for study in studies:
        key = asks(own, study.id, words_of(own, study, own.listed))
        said = {"key": key, "asks": key, "study": study.id, "teacher": own.name, "text": f"Of {study.id}.", **more}
        own.journal.append(Answer(**said))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"base_url": "api.openai.com"}, "base_url must be an address"),
        ({"base_url": ""}, "base_url must be an address"),
        ({"model": " "}, "model must not be empty"),
        ({"key": "sk-abcdefghijklmnop"}, "key must be the name of an environment variable"),
        ({"temperature": -1}, "temperature must be >= 0, got -1"),
        ({"top_logprobs": 21}, r"top_logprobs must be in \[0, 20\], got 21"),
        ({"concurrency": 0}, "concurrency must be > 0, got 0"),
        ({"retries": -1}, "retries must be >= 0, got -1"),
        ({"timeout": 0}, "timeout must be > 0, got 0"),
        ({"extra": {"messages": []}}, "extra must not hold 'messages'"),
        ({"prompt": "reconcile"}, r"prompt 'reconcile' has \$reports"),
        ({"client": "curl"}, "client must be one of openai, litellm"),
    ],
)
def test_settings_that_are_none(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, ConfigError), match=said) as found:
        Endpoint(**{**HERE, **wrong})
    assert "abcdefghijklmnop" not in str(found.value)


def test_a_price_is_none_that_is_less_than_nothing() -> None:
    with pytest.raises(ValueError, match="input must be >= 0, got -1"):
        Price(input=-1)


def test_a_run_reads_marked_answers_too_and_thinking_as_thinking(tmp_path: Path) -> None:
    own = _api(tmp_path)
    _answered(own, STUDIES[0], thinking="Hm.")
    _answered(own, *STUDIES[1:], mark="refused")
    said = own.signal(STUDIES, PLACES)
    assert [text.text for text in said] == ["<think>Hm.</think>\nOf s0.", "Of s1.", "Of s2.", "Of s3."]
    assert [(text.t, text.prompt) for text in said] == [(place, "diagnose") for place in PLACES]


def test_lacking_answers_are_counted_with_the_way_to_get_them(tmp_path: Path) -> None:
    own = _api(tmp_path)
    _answered(own, STUDIES[0])
    with pytest.raises(DataError, match=r"teachers\.gpt5: 3 of 4 studies have no answer of tiny.*apo collect"):
        own.signal(STUDIES, PLACES)
    assert len(replace(own, max_missing=0.75).signal(STUDIES, PLACES)) == 1
    with pytest.raises(DataError, match="2 of 3 studies"):
        replace(own, splits=["train"]).signal(STUDIES, PLACES)


def test_answers_to_other_questions_are_not_read_and_change_no_key(tmp_path: Path) -> None:
    own = _api(tmp_path)
    _answered(own, *STUDIES)
    before = own.fingerprint(STUDIES)
    for other in ({"model": "other"}, {"prompt": "describe"}, {"temperature": 1.0}, {"image_size": 7}, {"listed": []}):
        _answered(replace(own, **other), *STUDIES, text="something else")
    assert own.fingerprint(STUDIES) == before
    assert replace(own, concurrency=1, max_tokens=5, price=Price(1, 1)).fingerprint(STUDIES) == before
    _answered(own, STUDIES[0], text="a later answer")
    assert own.fingerprint(STUDIES) != before


def test_a_guess_of_tokens_goes_by_what_is_sent() -> None:
    own = Endpoint(**HERE, image_size=1024)
    assert guess(own, "x" * 400, [(4096, 4096)]) == pytest.approx(12 + 100 + 1024 * 1024 / 750)
    sizes = Sizes(own, 500.0)
    assert (sizes.question, sizes.answer, sizes.worst) == (500.0, 1024, (750.0, 1024))
    answer = Answer(key="k", asks="a", study="s", teacher="t", text="", input_tokens=200, output_tokens=50)
    sizes.learn([answer, replace(answer, input_tokens=400), replace(answer, input_tokens=None)])
    assert (sizes.question, sizes.answer, sizes.worst) == (300.0, 50.0, (pytest.approx(440.0), 1024))


@pytest.mark.parametrize("words", ["euros=5", "money", "money=-1", "tokens=many", "money=5,,x=1"])
def test_a_budget_that_is_none(words: str) -> None:
    with pytest.raises(ConfigError, match="--budget"):
        read_budget(words)


def _command(folder: Path, *words: str, **more: Any) -> list[str]:
    teacher = {**HERE, "kind": "api", "folder": str(folder), **more}
    (folder / "experiments").mkdir(exist_ok=True)
    root = Path(__file__).parents[3] / "experiments"
    sizes = ["data.train=2", "data.val=1", "data.test=1", f"teachers={{gpt5: {teacher}}}".replace("'", '"')]
    return ["collect", str(root / "smoke.yaml"), *sizes, *words]


def test_a_dry_run_needs_neither_key_nor_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = _command(tmp_path, "--dry-run", key="NO_SUCH_KEY", price={"input": 1000, "output": 1000})
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "4,096" in said and "http://127.0.0.1:9/v1" in said and not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--again", "short"], "--again names 'short'"),
        (["--teacher", "gpt4"], "Did you mean 'gpt5'?"),
        (["--budget", "money=5"], "teachers.gpt5.price is not given"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(_command(tmp_path, *words)) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_an_experiment_that_asks_nobody_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", str(Path(__file__).parents[3] / "experiments" / "smoke.yaml")]) == 2
    assert "No teacher of smoke is asked" in capsys.readouterr().err


def test_two_ways_of_asking_one_teacher_are_two_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = _command(tmp_path, "--dry-run", 'arms.spd_mt.set={"teachers.gpt5.prompt": "describe"}')
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "gpt5 (base, apo_listwise)" in " ".join(said.split()) and "gpt5 (spd_mt)" in said


def test_an_export_is_read_by_whoever_reads_trajectories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from apo_lightning import config
    from apo_lightning.experiment import asking

    words = _command(tmp_path)
    cfg = config.load(config.find(words[1]), words[2:])
    asked = asking.asked(cfg)
    own = asked[0].teacher
    _answered(own, *(item.study for item in asked[0].items.values()))
    assert asking.export(asked, tmp_path / "texts.jsonl") == 4
    rows = read_lines(tmp_path / "texts.jsonl")
    assert set(rows[0]) == {"study", "teacher", "text", "prompt"} and "t" not in rows[0]
    assert main(["audit", str(tmp_path / "texts.jsonl"), "--texts", "1"]) == 0
