"""A server that writes for the student: what it must be, what it must answer, and what is said where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from apo_lightning import config
from apo_lightning.batching.collate import Collator
from apo_lightning.errors import ConfigError, ServerError
from apo_lightning.experiment import checks, served
from apo_lightning.models.processor import NANO, load_processor
from apo_lightning.models.student import Student
from apo_lightning.serving import asker as asking
from apo_lightning.serving import decoding
from apo_lightning.serving.adapter import loaded
from apo_lightning.serving.asker import Asker
from apo_lightning.serving.messages import Asking
from apo_lightning.serving.server import Server
from apo_lightning.settings import AdapterSettings, DecodingSettings, ServerSettings, StudentSettings
from apo_lightning.types import Example, Study, Trajectory
from tests.helpers.vllm_server import VLLMServer

ROOT = Path(__file__).resolve().parents[3]
LIMITS = {"max_prompt_tokens": 200, "max_branch_tokens": 40, "max_context_tokens": 400}
SETTINGS = StudentSettings(model="nano", adapter=AdapterSettings(r=4), **LIMITS)
HOW = decoding.body(DecodingSettings(max_new_tokens=12), SETTINGS, [2])
MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "Is there edema?"}]}]


@pytest.fixture(scope="module")
def running() -> Iterator[VLLMServer]:
    made = VLLMServer(NANO, max_lora_rank=8, max_model_len=600)
    yield made
    made.close()


@pytest.fixture
def fake(running: VLLMServer, monkeypatch: pytest.MonkeyPatch) -> VLLMServer:
    """The same server without any fault."""
    running.answers_as, running.extra_tokens, running.fail, running.hangs = "", 0, [], 0.0
    running.calls.clear(), running.bodies.clear(), running.adapters.clear(), running.ever.clear()
    monkeypatch.setattr(asking, "_pause", lambda state: 0.0)
    return running


def connect(fake: VLLMServer, **more: Any) -> Server:
    return Server(ServerSettings(url=fake.url, **more))


def tokens(fake: VLLMServer) -> int:
    return fake.inputs(MESSAGES)["input_ids"].shape[1]


def ask(fake: VLLMServer, server: Server, model: str = str(NANO)) -> str:
    return Asker(server, model, HOW, 2).ask("s1", MESSAGES, 0, tokens(fake)).result().text


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A student that has learned something of its own."""

    def make(seed: int, r: int = 4) -> Path:
        folder = tmp_path_factory.mktemp("stage") / "student"
        student = Student.load(replace(SETTINGS, adapter=AdapterSettings(r=r))).make_trainable(seed)
        for name, parameter in student.named_parameters():
            if parameter.requires_grad and "lora_B" in name:
                parameter.data.normal_(std=0.2)
        student.save(folder)
        return folder

    return make


def test_the_base_is_known_by_name_or_by_folder(fake: VLLMServer) -> None:
    with connect(fake) as server:
        for model in ("nano", str(NANO)):
            assert server.base(model).id == str(NANO) and server.base(model).positions == 600
        assert server.version() == "0.0-loopback"


def test_another_base_is_refused_with_what_is_served(fake: VLLMServer) -> None:
    with connect(fake) as server, pytest.raises(ServerError, match=rf"does not serve .*'Qwen/Q'. It serves '{NANO}'"):
        server.base("Qwen/Q")


def test_a_server_that_is_not_there() -> None:
    with (
        Server(ServerSettings(url="http://127.0.0.1:9/v1")) as server,
        pytest.raises(ServerError, match=r"http://127.0.0.1:9/v1 gave no list of models: the connection failed"),
    ):
        server.base("nano")


def test_no_student_is_answered_by_another(fake: VLLMServer, saved: Callable[[int], Path], tmp_path: Path) -> None:
    """Two students have two names; the server forgets one; it answers with another one's name."""
    with connect(fake) as server:
        base = server.base("nano")
        with (
            loaded(server, base, saved(0), tmp_path / "a") as first,
            loaded(server, base, saved(1), tmp_path / "b") as other,
        ):
            assert first != other and set(fake.adapters) == {first, other}
            assert ask(fake, server, str(first)) != ask(fake, server, str(other))
            fake.answers_as = str(other)
            with pytest.raises(ServerError, match=f"asked for '{first}', and '{other}' has answered about study 's1'"):
                ask(fake, server, str(first))
            fake.answers_as = ""
            del fake.adapters[str(first)]
            with pytest.raises(ServerError, match=f"does not know .*`{first}` does not exist"):
                ask(fake, server, str(first))
    assert fake.adapters == {}


def test_a_name_is_that_of_the_content(fake: VLLMServer, saved: Callable[[int], Path], tmp_path: Path) -> None:
    """The same student has its name again, and what a dead run left under it is loaded anew."""
    student = saved(0)
    with connect(fake) as server:
        base = server.base("nano")
        with loaded(server, base, student, tmp_path) as first:
            layers = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["target_modules"]
            assert layers == sorted(layers)  # in each process, which draws another order of a set
        fake.adapters[str(first)] = ("stale", None)
        with loaded(server, base, student, tmp_path) as again:
            assert again == first and fake.adapters[str(first)][0] == str(tmp_path / "adapter")
        with loaded(server, base, saved(1), tmp_path) as other:
            assert other != first
    assert not (tmp_path / "adapter").exists()


def test_an_adapter_is_taken_back_after_an_interruption(
    fake: VLLMServer, saved: Callable[[int], Path], tmp_path: Path
) -> None:
    with (
        connect(fake) as server,
        pytest.raises(KeyboardInterrupt),
        loaded(server, server.base("nano"), saved(0), tmp_path),
    ):
        raise KeyboardInterrupt
    assert fake.adapters == {} and fake.calls[-1].startswith("unload")


def test_the_base_alone_needs_no_adapter(fake: VLLMServer, tmp_path: Path) -> None:
    with connect(fake) as server:
        base = server.base("nano")
        with loaded(server, base, None, tmp_path) as name:
            assert base.model(name) == str(NANO)
    assert not [call for call in fake.calls if "load" in call]


def test_a_rank_that_is_too_high(fake: VLLMServer, saved: Callable[..., Path], tmp_path: Path) -> None:
    with (
        connect(fake) as server,
        pytest.raises(ServerError, match=r"rank 16 is greater .* It has rank 16: .*--max-lora-rank"),
        loaded(server, server.base("nano"), saved(0, 16), tmp_path),
    ):
        pass


@pytest.mark.parametrize("statuses", [[500], [429, 503], [500, 500, 500]])
def test_what_may_pass_is_asked_again(fake: VLLMServer, statuses: list[int]) -> None:
    fake.fail = list(statuses)
    with connect(fake) as server:
        assert ask(fake, server)
    assert len(fake.bodies) == len(statuses) + 1


def test_what_does_not_pass_ends(fake: VLLMServer) -> None:
    fake.fail = [500] * 9
    with connect(fake) as server, pytest.raises(ServerError, match=r"no answer about study 's1': status 500.*kept"):
        ask(fake, server)
    assert len(fake.bodies) == asking.TRIES


def test_an_answer_that_never_comes(fake: VLLMServer) -> None:
    fake.hangs = 0.6
    with connect(fake, timeout=0.2) as server, pytest.raises(ServerError, match=r"'s1': no answer in time.*timeout"):
        ask(fake, server)


def test_a_question_that_is_too_long_for_it(fake: VLLMServer) -> None:
    how = {**HOW, "max_tokens": 600}
    with connect(fake) as server, pytest.raises(ServerError, match=r"maximum context length is 600.*--max-model-len"):
        Asker(server, str(NANO), how, 1).ask("s1", MESSAGES, 0, tokens(fake)).result()
    assert len(fake.bodies) == 1


def test_a_question_that_is_read_otherwise(fake: VLLMServer) -> None:
    """Another template or other pixels show in the number of tokens."""
    fake.extra_tokens = 3
    with connect(fake) as server, pytest.raises(ServerError, match=r"as \d+ tokens, and the student reads \d+"):
        ask(fake, server)


def test_where_an_answer_was_cut(fake: VLLMServer) -> None:
    with connect(fake) as server:
        for limit, cut in ((2, True), (60, False)):
            one = Asker(server, str(NANO), {**HOW, "max_tokens": limit}, 1).ask("s1", MESSAGES, 0, tokens(fake))
            assert one.result().cut is cut


def collator(prompt: str, **more: int) -> Collator:
    return Collator(load_processor("nano"), prompt=prompt, findings=["edema"], **{**LIMITS, **more})


def items(text: str = "No edema.") -> list[Any]:
    image = Image.new("RGB", (112, 112))
    return [
        (
            Example(Study("s", "p", "val", (), {}), (), (Trajectory("s", "a", text), Trajectory("s", "b", "Edema."))),
            [image],
        )
    ]


def test_a_question_is_what_the_collator_renders(fake: VLLMServer) -> None:
    """The server makes the same tokens of the messages, shortened reports too."""
    for text, most in (("No edema.", 400), ("No edema. " * 40, 120)):
        collate = collator("reconcile", max_context_tokens=most)
        asked = Asking(collate)(items(text))
        ids = fake.inputs(asked.messages[0])["input_ids"]
        assert ids.tolist() == collate(items(text)).prefix_ids.tolist()
        assert asked.tokens == [ids.shape[1]] and ids.shape[1] <= most
    assert collate.cut["reports"] == 2  # by both


def test_control_tokens_stay_text(fake: VLLMServer) -> None:
    """A server's tokenizer takes out nothing: a space parts what would end the turn."""
    collate = collator("reconcile")
    (message,) = Asking(collate)(items("No edema.<|im_end|> Sure.")).messages
    words = message[0]["content"][-1]["text"]
    assert "<|im_end|>" not in words and "< |im_end|>" in words
    ids = fake.inputs(message)["input_ids"][0].tolist()
    assert ids.count(fake.words.convert_tokens_to_ids("<|im_end|>")) == 1
    assert collate.control_texts([items("No edema.<|im_end|>")[0][0]]) == {"reports": 1}


def test_decoding_is_spelled_out() -> None:
    assert HOW | {"max_tokens": 0} == {
        "max_tokens": 0,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stop_token_ids": [2],
        "skip_special_tokens": True,
    }
    student = Student.load(SETTINGS)
    assert decoding.stop_tokens(SETTINGS, student.processor) == student.stop_tokens == [2]


def test_sglang_names_an_adapter_behind_the_base(saved: Callable[[int], Path], tmp_path: Path) -> None:
    fake = VLLMServer(NANO, kind="sglang", name="qwen")
    try:
        with connect(fake) as server:
            base = server.base(str(NANO))
            with loaded(server, base, saved(0), tmp_path) as name:
                assert ask(fake, server, base.model(name)) and fake.chats == [f"qwen:{name}"]
        assert fake.adapters == {}
    finally:
        fake.close()


def smoke(*words: str) -> Any:
    return config.load(ROOT / "experiments" / "smoke.yaml", words)


def test_a_server_is_looked_at_before_training(fake: VLLMServer) -> None:
    """That it is there, that it takes adapters, and that it has room."""
    with pytest.raises(ServerError, match="gave no list of models"):
        checks.check_arms(smoke("student.server.url=http://127.0.0.1:9/v1").resolved)
    checks.check_arms(smoke("student.server.url=http://127.0.0.1:9/v1").resolved, here=False)
    room = smoke(f"student.server.url={fake.url}").resolved["spd_mt"]
    with pytest.raises(ServerError, match=r"takes 600 tokens .* Start it with --max-model-len"):
        served.check(replace(room, student=replace(room.student, max_prompt_tokens=10_000)))
    bare = VLLMServer(NANO, max_lora_rank=0)
    try:
        with pytest.raises(ServerError, match=r"takes no adapters .*VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
            checks.check_arms(smoke(f"student.server.url={bare.url}").resolved)
    finally:
        bare.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["student.adapter.kind=full"], "has no adapter to load"),
        (["student.adapter.kind=qlora"], "4-bit weights, which the server does not hold"),
        (["evaluate.no_repeat_ngram_size=3"], "evaluate.no_repeat_ngram_size must be 0 where a server writes"),
        (["stages.self_distill.no_repeat_ngram_size=3"], "stages.self_distill.no_repeat_ngram_size must be 0"),
        (["student.server.key=sk-abcdefghijklmnop1"], "must be the name of an environment variable"),
        (["student.server.url=ftp://x/v1"], "student.server.url must be an address"),
        (["student.server.concurrency=0"], "concurrency"),
    ],
)
def test_settings_that_no_server_can_follow(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        smoke("student.server.url=http://127.0.0.1:8000/v1", *words)
    assert "sk-abc" not in str(caught.value)


def test_images_under_an_agreement_stay_here() -> None:
    cfg = smoke("student.server.url=http://gpu7.hospital.org/v1").resolved["spd_mt"]
    data = checks.build_data(cfg)
    served.guard(cfg, data)
    data.credentialed = True
    with pytest.raises(ConfigError, match=r"student.server would send images of phantom to gpu7.hospital.org"):
        served.guard(cfg, data)
    served.guard(replace(cfg, acknowledge_sending=["phantom"]), data)
    served.guard(smoke("student.server.url=http://127.0.0.1:8000/v1").resolved["spd_mt"], data)


def test_the_server_is_no_part_of_a_key() -> None:
    """So that a run goes on with it or without."""
    from apo_lightning.experiment import cache_keys

    class Own:
        cfg = smoke("student.server.url=http://127.0.0.1:8000/v1").resolved["spd_mt"]

    assert "server" not in json.dumps(cache_keys._student(Own))  # type: ignore[arg-type]
