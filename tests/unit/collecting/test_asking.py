"""Asking a teacher: what endpoints do, and what becomes of the answers."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from PIL import Image

from apo_lightning import signals
from apo_lightning.collecting import ask as asking
from apo_lightning.collecting.collect import collect
from apo_lightning.collecting.endpoint import Endpoint, Price
from apo_lightning.collecting.images import Images
from apo_lightning.collecting.journal import Answer, Journal
from apo_lightning.collecting.plan import Item, plan
from apo_lightning.collecting.questions import Outcome
from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.files.atomic import Unwritten
from apo_lightning.types import Study
from tests.helpers.faulty_server import KEY, Faulty, completion, served
from tests.helpers.hearing import heard

STUDIES = [Study(f"s{i}", f"p{i}", "train", (f"drawing{i}",), {}) for i in range(12)]
QUICK = {
    "model": "tiny",
    "prompt": "describe",
    "backoff": 0.01,
    "timeout": 5.0,
    "price": {"input": 10.0, "output": 100.0},
}


def _image(study: Study) -> list[Image.Image]:
    return [Image.new("L", (40, 20), int(study.id[1:]))]


def _scripted(*faults: str | None) -> Callable[[int], str | None]:
    return lambda n: faults[n] if n < len(faults) else None


class Asked:
    """One teacher, asked about some studies with answers in one folder."""

    def __init__(self, folder: Path, studies: Sequence[Study] = STUDIES) -> None:
        self.folder, self.studies, self.said = folder, studies, list[str]()

    def __call__(
        self, url: str, budget: dict[str, float] | None = None, again: Sequence[str] = (), **more: Any
    ) -> Outcome:
        settings = {**QUICK, "base_url": url, **more}
        endpoint = Endpoint(**{**settings, "price": Price(**settings["price"])})
        images = Images(_image, lambda study: False, self.folder / "images.json")
        items = [Item(study, (), images) for study in self.studies]
        self.plan = plan("gpt5", endpoint, Journal(self.folder, "gpt5"), items, again)
        come = collect([self.plan], budget or {}, self.said.append)
        self.signum = come.signum
        return come.outcomes.get("gpt5", Outcome())

    @property
    def answers(self) -> list[Answer]:
        return Journal(self.folder, "gpt5").read().answers


@pytest.fixture
def ask(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def test_every_study_is_asked_once_and_never_again(ask: Asked) -> None:
    own = Faulty()
    with served(own) as url:
        assert len(ask(url).answers) == 12
        assert len(ask(url).answers) == 0
    assert own.requests == 12 and set(own.given.values()) == {1}
    first = ask.answers[0]
    assert (first.input_tokens, first.output_tokens, first.cost) == (100, 20, pytest.approx(0.003))
    assert (first.answered_by, first.finish, first.tries, first.mark) == ("tiny", "stop", 1, "")


def test_what_is_sent(ask: Asked) -> None:
    own = Faulty()
    more = {"temperature": 0.5, "seed": 7, "top_logprobs": 2, "extra": {"reasoning_effort": "low"}, "image_size": 20}
    with served(own) as url:
        ask(url, limit="max_completion_tokens", max_tokens=99, image_detail="high", **more)
    body = own.bodies[0]
    picture, words = body.pop("messages")[0]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,") and picture["image_url"]["detail"] == "high"
    assert words == {"type": "text", "text": "Describe the findings of this chest X-ray."}
    wanted = {"temperature": 0.5, "seed": 7, "logprobs": True, "top_logprobs": 2, "reasoning_effort": "low"}
    assert body == {"model": "tiny", "max_completion_tokens": 99, **wanted}


@pytest.mark.parametrize(
    "fault", ["429", "429 after", "500", "503 html", "reset", "malformed", "no choices", "huge", "200 error"]
)
def test_a_failure_that_passes_is_asked_again(ask: Asked, fault: str) -> None:
    own = Faulty(_scripted(fault, None, fault))
    with served(own) as url:
        outcome = ask(url, concurrency=2)
    assert len(outcome.answers) == 12 and not outcome.failed and not outcome.ended
    assert own.requests == 14 and outcome.again.total() == 2 and set(own.given.values()) == {1}


def test_a_hang_ends(ask: Asked) -> None:
    own = Faulty(_scripted("hang"))
    with served(own, hang=3) as url:
        outcome = ask(url, timeout=1.5)
    assert len(outcome.answers) == 12 and outcome.again == {"no answer in time": 1}


def test_all_wait_as_long_as_they_are_told(ask: Asked) -> None:
    own = Faulty(_scripted(None, "429 after"))
    with served(own) as url:
        ask(url, concurrency=1)
    assert own.times[2] - own.times[1] >= 0.05


def test_a_limit_a_minute_is_kept(ask: Asked) -> None:
    ask.studies, own = STUDIES[:4], Faulty()
    with served(own) as url:
        ask(url, requests_per_minute=600)
    gaps = [b - a for a, b in zip(own.times, own.times[1:], strict=False)]
    assert min(gaps) > 0.05


def test_who_asks_to_wait_for_a_day_is_left_for_a_day(ask: Asked) -> None:
    with served(Faulty(lambda n: "429 far")) as url:
        outcome = ask(url)
    assert "asks to wait 86,400 s" in outcome.ended


@pytest.mark.parametrize(
    ("fault", "said"),
    [("key", "does not take the key"), ("model", "does not know"), ("quota", "wants to be paid")],
)
def test_a_closed_door_is_tried_a_few_times_and_then_left(ask: Asked, fault: str, said: str) -> None:
    own = Faulty(lambda n: None if n < 4 else fault)
    with served(own) as url:
        outcome = ask(url, concurrency=2)
    assert said in outcome.ended and own.requests <= 4 + 6 + 3
    assert len(ask.answers) == 4 and not outcome.failed


def test_one_answer_that_the_key_is_wrong_may_be_the_endpoints_mistake(ask: Asked) -> None:
    own = Faulty(_scripted("key", None, "model", None))
    with served(own) as url:
        assert len(ask(url, concurrency=1).answers) == 12


def test_a_question_that_is_not_taken_is_given_up_and_the_others_go_on(ask: Asked) -> None:
    own = Faulty(_scripted(None, None, "bad"))
    with served(own) as url:
        outcome = ask(url)
        assert len(outcome.answers) == 11 and list(outcome.failed.values()) == ["status 400: image too large"]
        assert len(ask(url).answers) == 1


def test_an_endpoint_that_takes_no_question_is_left(ask: Asked) -> None:
    own = Faulty(lambda n: "bad")
    with served(own) as url:
        outcome = ask(url, concurrency=1)
    assert own.requests == 10 and "10 questions in a row were given up" in outcome.ended


def test_retries_end(ask: Asked) -> None:
    ask.studies, own = STUDIES[:1], Faulty(lambda n: "500")
    with served(own) as url:
        outcome = ask(url, retries=2)
    assert own.requests == 3 and outcome.failed == {"s0": "status 500: oh"}


@pytest.mark.parametrize(
    ("body", "mark"),
    [
        (completion("No edema.", "length"), "truncated"),
        (completion(None, "length"), "truncated"),
        (completion(""), "empty"),
        (completion("<think>Edema?</think>"), "empty"),
        (completion("I'm sorry, but I cannot interpret medical images."), "refused"),
        (completion("There is edema.", "content_filter"), "refused"),
        (completion(None, refusal="No."), "refused"),
        (completion("No edema.", reasoning_content="Hm."), ""),
        (completion([{"type": "text", "text": "No edema."}]), ""),  # type: ignore[arg-type]
    ],
)
def test_marks(ask: Asked, body: dict[str, Any], mark: str) -> None:
    ask.studies, own = STUDIES[:1], Faulty(say=lambda name: body)
    with served(own) as url:
        ask(url)
        ask(url)
        assert (own.requests, ask.answers[0].mark) == (1, mark)
        ask(url, again=["truncated", "empty", "refused"])
        assert own.requests == (2 if mark else 1)


def test_a_question_that_a_filter_declines_is_a_refusal(ask: Asked) -> None:
    own = Faulty(_scripted("filter"))
    with served(own) as url:
        ask(url, concurrency=1)
    assert [answer.mark for answer in ask.answers] == ["refused"] + [""] * 11


def test_of_two_answers_the_whole_one_counts(ask: Asked) -> None:
    ask.studies, texts = STUDIES[:1], iter([("I", "length"), ("II", "stop"), ("III", "length")])
    with served(Faulty(say=lambda name: completion(*next(texts)))) as url:
        ask(url)
        ask(url, again=["truncated"])
        ask(url, again=["truncated"])
    assert ask.plan.answers["s0"].text == "II" and [own.text for own in ask.answers] == ["I", "II"]


@pytest.mark.parametrize(
    ("budget", "answers"),
    [({"requests": 5}, 5), ({"tokens": 800}, 6), ({"money": 0.021}, 6), ({"money": 0}, 0)],
)
def test_a_budget_stops_before_it_is_passed(ask: Asked, budget: dict[str, float], answers: int) -> None:
    """An answer takes 120 tokens and .003; the next one may take 110 (seen, and a tenth) + 40 and .0051."""
    own = Faulty()
    with served(own) as url:
        for _ in range(2):
            outcome = ask(url, budget, max_tokens=40)
            name, limit = next(iter(budget.items()))
            assert f"--budget {name}={limit:g} is used up (give a higher one to go on)" in outcome.ended
        assert len(ask.answers) == answers
        ask(url, {name: 100 * limit + 1 for name, limit in budget.items()}, max_tokens=40)
    assert len(ask.answers) == 12 and set(own.given.values()) == {1}


def test_a_budget_in_money_wants_prices(ask: Asked) -> None:
    with pytest.raises(ConfigError, match=r"teachers\.gpt5\.price is not given"):
        ask("http://127.0.0.1:9/v1", {"money": 1}, price={})


def test_a_key_is_sent_and_shown_nowhere(ask: Asked, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    own = Faulty(lambda n: "key" if n > 2 else None)
    with served(own) as url:
        outcome = ask(url, key="TEST_KEY", concurrency=1)
    assert own.headers[0]["authorization"] == f"Bearer {KEY}"
    shown = outcome.ended + "".join(path.read_text() for path in ask.folder.glob("*.json*")) + caplog.text
    assert "Incorrect API key" in shown and KEY not in shown


def test_a_missing_key_is_said_before_anything_is_asked(ask: Asked) -> None:
    with pytest.raises(ConfigError, match=r"teachers\.gpt5\.key: the environment variable NO_SUCH"):
        ask("http://127.0.0.1:9/v1", key="NO_SUCH")


def test_what_a_full_disk_does_not_take_is_kept_elsewhere(
    ask: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place, own, append = tmp_path_factory.mktemp("elsewhere"), Faulty(), Journal.append

    def full(self: Journal, answer: Answer) -> None:
        if self.path.parent == ask.folder and self.path.exists():
            raise Unwritten(OSError(28, "No space left on device"), self.path)
        append(self, answer)

    monkeypatch.setattr(Journal, "append", full)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(place))
    with served(own) as url, pytest.raises(ArtifactError, match="are kept: cat") as found:
        ask(url, concurrency=4)
    monkeypatch.undo()
    rescued = [json.loads(line) for path in place.rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert len(rescued) + len(ask.answers) == sum(own.given.values()) < 12
    assert str(ask.folder / "gpt5.jsonl") in str(found.value)


def test_nothing_is_asked_where_there_is_no_room_for_an_answer(ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ROOM", 1 << 60)
    own = Faulty()
    with served(own) as url:
        outcome = ask(url)
    assert own.requests == 0 and "MB are free" in outcome.ended


def test_a_changed_prompt_model_or_image_is_another_question(ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Faulty()
    with served(own) as url:
        for more in ({}, {"model": "other"}, {"temperature": 1.0}, {"image_size": 16}, {"prompt": "report"}):
            assert len(ask(url, **more).answers) == 12
        same = {"max_tokens": 5, "concurrency": 1, "retries": 0, "price": {}, "timeout": 9.0}
        assert len(ask(url, **same).answers) == 0
        monkeypatch.setattr(ask, "studies", [Study("s0", "p0", "train", ("redrawn",), {}), *STUDIES[1:]])
        assert [answer.study for answer in ask(url).answers] == ["s0"]
    assert len(ask.answers) == 5 * 12 + 1


def test_after_a_break_the_same_answer_is_asked_for_and_after_a_bad_one_another(ask: Asked) -> None:
    ask.studies, own = STUDIES[:1], Faulty(_scripted("reset", "malformed", None))
    with served(own) as url:
        ask(url)
    broken, bad, good = (headers["idempotency-key"] for headers in own.headers)
    assert broken == bad != good


def test_what_was_no_answer_is_noted_and_counts_in_a_budget(ask: Asked) -> None:
    own = Faulty(_scripted(None, "malformed", "no choices"))
    with served(own) as url:
        ask(url, {"requests": 3}, concurrency=1)
        assert len(ask.answers) == 1 and ask.said == []
        held = Journal(ask.folder, "gpt5").read()
        assert [line.finish for line in held.broken] == ["the answer is not JSON", "the answer has no choices"]
        ask(url, {"requests": 3})
        assert own.requests == 3
        assert len(ask(url).answers) == 11
    names = [headers["idempotency-key"] for headers in own.headers]
    assert len(set(names)) == len(names) == 14


def test_concurrency_is_kept(ask: Asked) -> None:
    own = Faulty(delay=0.1)
    began = time.monotonic()
    with served(own) as url:
        ask(url, concurrency=6)
    assert 0.2 <= time.monotonic() - began < 1.0


def test_a_signal_waits_for_what_is_under_way(ask: Asked) -> None:
    own = Faulty(delay=0.3)
    own.before = lambda name: os.kill(os.getpid(), signal.SIGINT) if own.requests == 2 else None
    with served(own) as url, heard(signal.SIGINT), signals.raised():
        outcome = ask(url, concurrency=3)
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert ask.signum == signal.SIGINT and outcome.ended == "it was stopped"
    assert 2 <= len(ask.answers) == sum(own.given.values()) == own.requests <= 3
    assert "waiting for the answers that are under way" in ask.said[0]


def test_a_second_signal_does_not_wait(ask: Asked) -> None:
    own = Faulty(delay=3.0)
    began = time.monotonic()

    def signal_twice(name: str) -> None:
        """The second one when the first was heard: two that come at once are one."""
        while own.requests == 2 and not ask.said and time.monotonic() - began < 2:
            time.sleep(0.01)
        if own.requests in (1, 2):
            os.kill(os.getpid(), signal.SIGTERM)

    own.before = signal_twice
    with served(own) as url, signals.raised(), pytest.raises(signals.Stopped):
        ask(url, concurrency=3)
    assert time.monotonic() - began < 2.5


class _LiteLLM(types.ModuleType):
    """The part of litellm that is used, in place of the package."""

    def __init__(self) -> None:
        super().__init__("litellm")
        self.calls: list[dict[str, Any]] = []

    async def acompletion(self, **body: Any) -> Any:
        self.calls.append(body)
        if len(self.calls) == 1:
            response = httpx2.Response(429, headers={"retry-after": "0.01"}, request=httpx2.Request("POST", "http://x"))
            raise openai.RateLimitError("slow down", response=response, body=None)
        return types.SimpleNamespace(model_dump_json=lambda: json.dumps(completion("No edema.", model="claude")))


def test_other_protocols_go_through_litellm(ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    library = _LiteLLM()
    monkeypatch.setitem(sys.modules, "litellm", library)
    monkeypatch.setenv("TEST_KEY", KEY)
    outcome = ask("", client="litellm", model="anthropic/claude", key="TEST_KEY")
    assert len(ask.answers) == 12 and outcome.again == {"told to wait": 1}
    call = library.calls[-1]
    assert (call["model"], call["api_key"], call["num_retries"]) == ("anthropic/claude", KEY, 0)
    assert call["messages"][0]["content"][0]["type"] == "image_url" and "api_base" not in call


def test_litellm_is_asked_for_where_it_is_not_installed(ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(ConfigError, match=r"pip install apo-lightning\[litellm\]"):
        ask("", client="litellm")
