"""Batches: what is sent, what is merged, and that no question is paid twice or lost, wherever a kill comes."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from apo_lightning.collecting import batch, batch_files, secrets
from apo_lightning.collecting.endpoint import Endpoint, Price
from apo_lightning.collecting.journal import Journal
from apo_lightning.collecting.plan import Item, Plan, plan
from apo_lightning.collecting.questions import Outcome
from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.types import Study
from tests.helpers.batch_server import BatchServer, answer

KEY = "sk-batch-0123456789abcdef"


class Drawn:
    """Images of 8 by 8 pixels."""

    def hashes(self, studies: list[Study]) -> list[tuple[str, ...]]:
        return [(f"hash of {study.id}",) for study in studies]

    def open(self, study: Study) -> list[Image.Image]:
        return [Image.new("L", (8, 8), int(study.id))]


@pytest.fixture
def server() -> Iterator[BatchServer]:
    own = BatchServer()
    yield own
    own.close()


@pytest.fixture
def make(tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    monkeypatch.setenv("BATCH_KEY", KEY)

    def made(count: int = 3, again: tuple[str, ...] = (), **how: Any) -> Plan:
        given = {"base_url": server.url, "model": "m", "key": "BATCH_KEY", "retries": 3, "backoff": 0.01}
        endpoint = Endpoint(**(given | {"price": Price(10.0, 100.0)} | how))
        images = Drawn()
        studies = [Study(str(i), f"p{i}", "train", (f"{i}.png",), {"edema": 1.0}) for i in range(count)]
        items = [Item(study, ("edema",), images) for study in studies]
        return plan("gpt", endpoint, Journal(tmp_path / "answers", "gpt"), items, again)

    return made


def go(own: Plan, **how: Any) -> Outcome:
    said: list[str] = []
    found = batch.collect([own], how.pop("budget", {}), said.append, poll=0.01, **how)
    outcome = found.outcomes.get("gpt", Outcome())
    outcome.said = said  # type: ignore[attr-defined]
    return outcome


def held(own: Plan) -> Counter[str]:
    return Counter(answer.study for answer in own.journal.read().answers)


def test_questions_go_in_a_file_and_answers_into_the_journal(make: Callable[..., Plan], server: BatchServer) -> None:
    own = make(3, temperature=0.5)
    outcome = go(own)
    rows = [json.loads(row) for row in server.files["file-in0"].splitlines()]
    assert [set(row) for row in rows] == [{"custom_id", "method", "url", "body"}] * 3
    assert {(row["method"], row["url"], row["body"]["model"], row["body"]["temperature"]) for row in rows} == {
        ("POST", "/v1/chat/completions", "m", 0.5)
    }
    assert rows[0]["body"]["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert held(own) == Counter("012") and len(outcome.answers) == 3 and not outcome.failed and not outcome.ended
    (first, *_) = own.journal.read().answers
    assert (first.how, first.model, first.answered_by, first.prompt) == ("batch", "m", "m-2026", "diagnose")
    assert (first.input_tokens, first.output_tokens) == (100, 10) and first.cost == pytest.approx(0.5 * 0.002)
    assert first.settings == own.endpoint.drawn and tuple(first.images) == (f"hash of {first.study}",)
    assert server.keys == {f"Bearer {KEY}"} and server.deleted == ["file-in0"]
    later = make(4)
    assert [question.study for question in make(3, temperature=0.5).questions] == []
    assert len(later.questions) == 4  # another temperature is another question


def test_an_answer_is_what_asking_directly_would_have_written(make: Callable[..., Plan]) -> None:
    go(make(2))
    assert make(2).questions == [] and set(make(2).answers) == {"0", "1"}


def test_nothing_of_the_images_and_nothing_of_the_key_stays_on_disk(make: Callable[..., Plan], tmp_path: Path) -> None:
    own = make(2)
    go(own)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.suffix for path in files if path.parent.name == "gpt.batches"] == [".json"]
    for path in files:
        assert b"base64" not in path.read_bytes() and KEY.encode() not in path.read_bytes(), path


def run_and_be_killed(own: Plan, server: BatchServer, dies: Callable[[], None] | None = None) -> int:
    """Collect in a process of its own. Returns 0, or the signal that ended it."""
    if (child := os.fork()) == 0:
        try:
            if dies:
                dies()
            go(own)
            os._exit(0)
        except BaseException:
            os._exit(99)
    server.client = child
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def test_killed_after_every_request_every_question_is_paid_once(
    make: Callable[..., Plan], server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_files, "MOST_REQUESTS", 2)  # 5 questions in 3 batches
    kills = 0
    for _ in range(60):
        server.fail = {len(server.calls): "kill"}
        if run_and_be_killed(make(5), server) == 0:
            break
        kills += 1
        server.fail = {}
        # every second time it gets one request further before it dies
        server.fail = {len(server.calls) + 1 + kills % 3: "kill"}
        kills += run_and_be_killed(make(5), server) != 0
    print(f"{kills} kills, {len(server.calls)} requests, {len(server.batches)} batches")
    server.fail = {}
    outcome = go(make(5))
    assert held(make(5)) == Counter("01234") and not outcome.failed
    assert kills >= 10 and max(Counter(server.asked).values()) == 1 and len(server.batches) == 3


@pytest.mark.parametrize("place", ["save", "append", "write_bytes"])
def test_killed_while_it_writes(
    make: Callable[..., Plan], server: BatchServer, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Before and after every write of a record, an answer or a file."""
    home = {"save": batch_files.Record, "append": Journal, "write_bytes": batch_files}[place]
    whole, kills = getattr(home, place), 0
    for nth in range(1, 20):
        for late in (False, True):
            count = [0]

            def dying(*args: Any, count: list[int] = count, nth: int = nth, late: bool = late) -> Any:
                count[0] += 1
                if count[0] == nth and not late:
                    os.kill(os.getpid(), signal.SIGKILL)
                done = whole(*args)
                if count[0] == nth:
                    os.kill(os.getpid(), signal.SIGKILL)
                return done

            ended = run_and_be_killed(make(4), server, lambda f=dying: setattr(home, place, f))
            kills += ended == signal.SIGKILL
        if ended == 0:
            break
    go(make(4))
    assert held(make(4)) == Counter("0123") and kills >= 2
    assert Counter(server.asked).most_common(1)[0][1] == 1
    assert not list(make(4).journal.path.parent.rglob("*.input.jsonl"))


@pytest.mark.parametrize("fault", [500, 503, 429, 408, "drop"])
def test_failures_that_pass_are_waited_for(make: Callable[..., Plan], server: BatchServer, fault: int | str) -> None:
    for place in range(12):
        server.fail[3 * place] = fault
    outcome = go(make(3))
    assert held(make(3)) == Counter("012") and not outcome.ended and len(set(server.asked)) == len(server.asked)


@pytest.mark.parametrize(
    ("fault", "words"), [(401, "does not take the key"), (400, "scripted"), (404, "does not know")]
)
def test_what_does_not_pass_is_said_and_gone_on_with(
    make: Callable[..., Plan], server: BatchServer, fault: int, words: str
) -> None:
    for place in range(6):
        before = len(server.calls)
        server.fail = {before + place: fault}
        outcome = go(make(2))
        assert not outcome.ended or words in outcome.ended, outcome.ended
    server.fail = {}
    go(make(2))
    assert held(make(2)) == Counter("01") and max(Counter(server.asked).values()) == 1


def test_an_endpoint_that_lists_nothing_is_not_paid_on_a_guess(make: Callable[..., Plan], server: BatchServer) -> None:
    server.fail, server.lists = {1: "drop"}, False
    outcome = go(make(2))
    assert "cannot be looked up" in outcome.ended and "rm " in outcome.ended and len(server.batches) == 1
    assert go(make(2)).ended and len(server.batches) == 1
    server.lists = True
    go(make(2))
    assert held(make(2)) == Counter("01") and len(server.batches) == 1


def test_lines_that_are_no_answers(make: Callable[..., Plan], server: BatchServer) -> None:
    """Errors, refusals, cut answers, lines that are missing, doubled, damaged or of others."""
    kinds: dict[str, str] = {}

    def reply(row: dict[str, Any]) -> dict[str, Any]:
        made, number = answer(row), len(kinds)
        kinds[row["custom_id"]] = str(number)
        body = made["response"]["body"]
        if number == 0:
            return {**made, "response": None, "error": {"code": "batch_expired", "message": f"expired {KEY}"}}
        if number == 1:
            made["response"] = {"status_code": 400, "body": {"error": {"code": "content_filter", "message": "no"}}}
        if number == 2:
            body["choices"][0]["finish_reason"] = "length"
        if number == 3:
            made["response"] = {"status_code": 500, "body": {"error": {"message": "oops"}}}
        if number == 4:
            return {}
        if number == 5:
            body["choices"] = []
        return made

    server.reply = reply
    good = answer({"custom_id": "not asked"})
    server.extra = b'{"custom_id": "x", "resp\n[]\n' + json.dumps(good).encode() + b"\n"
    outcome = go(make(8))
    marks = {one.study: one.mark for one in make(8).journal.read().answers}
    assert marks == {"1": "refused", "2": "truncated", "6": "", "7": ""}
    assert set(outcome.failed) == {"0", "3", "4", "5"} and KEY not in str(outcome.failed)
    assert "status 500: oops" in outcome.failed["3"] and "completed" in outcome.failed["4"]
    (last,) = [line for line in outcome.said if "came back" in line]  # type: ignore[attr-defined]
    assert "7 of 8 came back" in last and "2 cannot be read, 1 were not asked for" in last
    server.reply, server.extra = answer, b""
    go(make(8, ("truncated",)))
    assert held(make(8)) == Counter("012345672") and not make(8, ("truncated",)).questions


def test_a_batch_that_fails_as_a_whole_is_asked_anew(make: Callable[..., Plan], server: BatchServer) -> None:
    server.status, server.reply = "failed", lambda row: {}
    outcome = go(make(2))
    assert set(outcome.failed) == {"0", "1"} and "failed" in outcome.failed["0"]
    server.status, server.reply = "completed", answer
    go(make(2))
    assert held(make(2)) == Counter("01") and len(server.batches) == 2


def test_without_waiting_the_next_call_fetches_and_nobody_else_asks(
    make: Callable[..., Plan], server: BatchServer
) -> None:
    server.looks = 2
    assert "under way" in go(make(2), wait=False).ended and held(make(2)) == Counter()
    with pytest.raises(ConfigError, match=r"teachers\.gpt: 1 batches of 2 questions are under way.*--batch.*rm "):
        batch.refuse_under_way([make(2)])
    with pytest.raises(ConfigError, match="Set it back"):
        go(make(2, base_url="http://127.0.0.1:9/v1"))
    assert not go(make(3)).ended  # one more study meanwhile
    assert held(make(3)) == Counter("012") and [len(own.requests) for own in batch_files.records(make(3).journal)] == [
        2,
        1,
    ]
    batch.refuse_under_way([make(3)])


def test_the_budget_is_kept(make: Callable[..., Plan], server: BatchServer) -> None:
    outcome = go(make(5), budget={"requests": 2})
    assert "--budget requests=2 is used up" in outcome.ended and len(held(make(5))) == 2
    outcome = go(make(5), budget={"requests": 2})
    assert len(held(make(5))) == 2 and len(server.asked) == 2
    assert "money" in go(make(5), budget={"money": 0.0001}).ended and len(server.asked) == 2


def test_a_file_takes_what_the_endpoint_takes(make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    one = len(batch_files.line("k" * 64, {}))
    lines = [(replace_key(str(i)), b"x" * 100) for i in range(7)]
    sizes = lambda: [len(part) for part in batch_files.chunks(iter(lines), 10)]  # noqa: E731
    assert sizes() == [7] and one < 200
    monkeypatch.setattr(batch_files, "MOST_BYTES", 250)
    assert sizes() == [2, 2, 2, 1]
    monkeypatch.setattr(batch_files, "MOST_BYTES", 10**9)
    monkeypatch.setattr(batch_files, "MOST_ANSWERS", 30)
    assert sizes() == [3, 3, 1]
    monkeypatch.setattr(batch_files, "MOST_REQUESTS", 2)
    assert sizes() == [2, 2, 2, 1]


def replace_key(name: str) -> Any:
    from apo_lightning.collecting.request import Request

    return Request(name, "gpt", "words", f"asks {name}", ())


def test_a_record_that_is_damaged_is_not_passed_over(make: Callable[..., Plan], server: BatchServer) -> None:
    server.looks = 10**6
    go(make(2), wait=False)
    (path,) = make(2).journal.path.parent.rglob("*.json")
    content = path.read_text()
    for damaged in (content[: len(content) // 2], "[]", "{}", content.replace('"form": 1', '"form": 2')):
        path.write_text(damaged)
        with pytest.raises(ArtifactError, match="may be under way"):
            go(make(2))
    assert len(server.batches) == 1


def test_only_openais_protocol_and_only_with_a_key(make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="take batches"):
        go(replace_endpoint(make(1), client="litellm"))
    monkeypatch.delenv("BATCH_KEY")
    with pytest.raises(ConfigError, match="BATCH_KEY is not set"):
        go(make(1))
    assert secrets.masked(KEY) == secrets.MASK


def replace_endpoint(own: Plan, **how: Any) -> Plan:
    own.endpoint = replace(own.endpoint, **how)
    return own


def test_two_ways_of_asking_share_a_journal(make: Callable[..., Plan], server: BatchServer) -> None:
    """As arms with other prompts do: each batch is begun and fetched once."""
    server.looks = 3

    def both() -> list[Plan]:
        plans = [make(2), make(2, prompt="describe")]
        plans[1].label = "gpt (other)"
        return plans

    first = batch.collect(both(), {}, print, wait=False)
    assert set(first.outcomes) == {"gpt", "gpt (other)"} and len(server.batches) == 2
    batch.collect(both(), {}, print, poll=0.01)
    assert held(make(2)) == Counter("0011") and len(server.batches) == 2
    assert max(Counter(server.asked).values()) == 1 and not both()[0].questions and not both()[1].questions


def test_a_budget_in_money_needs_prices(make: Callable[..., Plan], server: BatchServer) -> None:
    with pytest.raises(ConfigError, match="price"):
        go(make(2, price=Price()), budget={"money": 5.0})
    assert server.calls == []
