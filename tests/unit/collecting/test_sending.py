"""Whom data and keys may be sent to, and what is shown of a key."""

from __future__ import annotations

import gzip
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import openai
import pytest

from apo_lightning.collecting import guard, http, loops, secrets
from apo_lightning.errors import ConfigError

KEY = "sk-test/1234567890+abcdef"

OWN = (
    "http://127.0.0.1:8000/v1", "http://127.8.9.10", "http://[::1]:80/v1", "http://localhost:1/v1", "http://LOCALHOST",
    "https://localhost./v1", "http://[::ffff:127.0.0.1]/v1", "http://[0:0:0:0:0:0:0:1]/",
)  # fmt: skip
FOREIGN = (
    "https://api.openai.com/v1", "http://127.0.0.1.evil.com/v1", "http://localhost.evil.com",
    "http://evil.com/127.0.0.1",
    "http://10.0.0.1:8000/v1", "http://192.168.0.2", "http://0.0.0.0:8000/v1", "http://[::]/v1", "http://128.0.0.1",
    "http://127.1/v1", "http://2130706433/v1", "http://0x7f000001", "http://localhost.localdomain", "http://my.localhost",
    "http://127.0.0.1%2eevil.com/v1", "http://evil.com:127", "http://[::ffff:10.0.0.1]", "http://[fe80::1]",
    "http://127.0.0.1\\.evil.com", "http://127。0。0。1.evil.com/v1",
)  # fmt: skip


@pytest.mark.parametrize("address", OWN)
def test_credentialed_data_goes_to_this_machine(address: str) -> None:
    guard.check_sending({"mimic_cxr": True}, address, [], "teachers.own")


@pytest.mark.parametrize("address", FOREIGN)
def test_credentialed_data_goes_nowhere_else(address: str) -> None:
    with pytest.raises(ConfigError, match=r"teachers\.gpt") as error:
        guard.check_sending({"mimic_cxr": True, "open_i": False}, address, ["open_i", "cxr_max"], "teachers.gpt")
    assert "must be an address" in str(error.value) or (
        guard.RULE in str(error.value) and "acknowledge_sending=[mimic_cxr]" in str(error.value)
    )


def test_what_may_be_sent_is_sent() -> None:
    guard.check_sending({"mimic_cxr": True, "open_i": False}, FOREIGN[0], ["mimic_cxr"], "teachers.gpt")
    guard.check_sending({"open_i": False}, FOREIGN[0], [], "teachers.gpt")


@pytest.mark.parametrize("address", ["http://127.0.0.1@evil.com/v1", f"https://me:{KEY}@127.0.0.1/v1",
                                     f"https://127.0.0.1/v1?key={KEY}", f"https://127.0.0.1/v1#{KEY}", "127.0.0.1:8",
                                     "file:///etc/passwd", "", "http://", "http://[::1", "http://a b/"])  # fmt: skip
def test_an_address_holds_no_user_and_no_key(address: str) -> None:
    for sets in ({"mimic_cxr": True}, {}):
        with pytest.raises(ConfigError, match=r"teachers\.gpt\.base_url must") as error:
            guard.check_sending(sets, address, ["mimic_cxr"], "teachers.gpt")
        assert KEY not in str(error.value)


def test_localhost_that_leads_elsewhere_is_not_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_addresses", lambda name: ["127.0.0.1", "10.0.0.1"])
    assert not guard.is_loopback("http://localhost:80")


@pytest.fixture
def forgets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What this test does to the process ends with it."""
    import sys

    kept = logging.getLogRecordFactory(), sys.excepthook, threading.excepthook
    monkeypatch.setattr(secrets, "_known", set())
    monkeypatch.setattr(secrets, "_forms", ())
    yield
    logging.setLogRecordFactory(kept[0])
    sys.excepthook, threading.excepthook = kept[1:]


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch, forgets: None) -> str:
    monkeypatch.setenv("SOME_KEY", f" {KEY}\n")
    return secrets.read_key("SOME_KEY", "teachers.gpt.key")


def test_a_key_is_read_by_name(key: str) -> None:
    assert key == KEY and f"Bearer {key}" == f"Bearer {KEY}"
    assert KEY not in repr(key) and KEY not in f"{[key]} { ({'k': key}) } {key!r}"
    assert secrets.read_key(None, "here") == secrets.NO_KEY


@pytest.mark.parametrize("value", [None, "", "  ", "short", "has a blank in it", "zwölf-zeichen", "two\nlines-of-it"])
def test_what_is_no_key_is_refused(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(ConfigError, match=r"teachers\.gpt\.key.*SOME_KEY") as error:
        secrets.read_key("SOME_KEY", "teachers.gpt.key")
    assert not (value or "").strip() or value not in str(error.value)


@pytest.mark.parametrize("name", [KEY, "gsk_abcdefghijklm", "AIzaSyabc", "", "A" * 65, "1KEY", "$KEY", "A B"])
def test_a_key_in_the_place_of_a_name_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(ConfigError, match="name of an environment variable") as error:
        secrets.read_key(name, "teachers.gpt.key")
    assert not name or name not in str(error.value)


def test_a_key_is_masked_in_all_of_its_forms(key: str) -> None:
    import base64
    from urllib.parse import quote

    basic = base64.b64encode(f":{KEY}".encode()).decode()
    for form in (KEY, quote(KEY, safe=""), basic, f"Authorization: Bearer {KEY}"):
        assert KEY not in (said := secrets.masked(f"before {form} after")) and form not in said, form
        assert said.startswith("before ") and said.endswith(" after")
    assert secrets.masked("The heart is enlarged: sk-y blue") == "The heart is enlarged: sk-y blue"


def test_a_key_is_in_no_log_and_no_traceback(key: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logging.getLogger("any").warning("sent %s with %s", {"a": KEY}, KEY)
        try:
            raise ValueError(f"bad {KEY}")
        except ValueError:
            logging.getLogger("any").exception("it failed")
    assert KEY not in caplog.text and caplog.text.count(secrets.MASK) >= 3
    cause = ValueError(f"cause {KEY}")
    outer = RuntimeError(f"outer {KEY}", 3)
    outer.__cause__ = cause
    outer.add_note(f"note {KEY}")
    said = "".join(traceback.format_exception(secrets.conceal_in(outer)))
    assert KEY not in said and said.count(secrets.MASK) == 3


class Server:
    """A server on this machine that answers as it is told, and keeps what it was asked."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.asked: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.asked.append({"path": self.path} | {k.lower(): v for k, v in self.headers.items()})
                answer(self)

            do_GET = do_POST

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(answer: Callable[[BaseHTTPRequestHandler], None]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for each in servers:
        each.server.shutdown()
        each.server.server_close()


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def ask(url: str, key: str = "none", **options: float) -> object:
    async def go() -> object:
        http_client = http.client(url, **({"timeout": 5.0} | options))
        async with openai.AsyncOpenAI(api_key=key, base_url=url, http_client=http_client, max_retries=0) as client:
            return await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])

    return loops.run(go())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_refused(serve: Callable[..., Server], status: int, key: str) -> None:
    other = serve(lambda h: send(h, 200, b"{}"))
    for target in (f"http://localhost:{other.port}/v1", other.url, "https://evil.com/v1", f"//localhost:{other.port}/"):
        one = serve(lambda h, target=target: send(h, status, location=target))
        with pytest.raises(openai.APIConnectionError) as error:
            ask(one.url, key)
        assert isinstance(error.value.__cause__, http.OtherHost), error.value.__cause__
        assert len(one.asked) == 1
    assert other.asked == []


@pytest.mark.parametrize(
    ("own", "other", "same"),
    [
        ("https://a.io/v1", "https://a.io:443/v2", True),
        ("http://a.io/v1", "https://a.io/v1", True),
        ("https://a.io/v1", "http://a.io/v1", False),
        ("http://a.io/v1", "http://a.io:81/v1", False),
        ("http://a.io:8000/v1", "https://a.io/v1", False),
        ("https://a.io/v1", "https://b.a.io/v1", False),
        ("https://a.io/v1", "https://a.io.b.io/v1", False),
        ("http://127.0.0.1:8000/v1", "http://localhost:8000/v1", False),
        ("https://a.io/v1", "https://A.IO/v1", True),
    ],
)
def test_one_host_is_a_scheme_a_name_and_a_port(own: str, other: str, same: bool) -> None:
    assert http._is_same(httpx2.URL(own), httpx2.URL(other)) == same


def test_a_redirect_within_the_host_is_followed(serve: Callable[..., Server]) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path.endswith("/new"):
            send(handler, 200, b'{"id": "a"}', content_type="application/json")
        else:
            send(handler, 307, location="/new")

    one = serve(answer)
    assert ask(one.url).id == "a"
    assert [each["path"] for each in one.asked] == ["/v1/chat/completions", "/new"]


def test_this_machine_is_reached_by_no_proxy(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, one = serve(lambda h: send(h, 200, b"{}")), serve(lambda h: send(h, 200, b'{"id": "own"}'))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    ask(one.url)
    assert proxy.asked == [] and len(one.asked) == 1
    assert http._proxy(httpx2.URL("http://example.com")) == f"http://127.0.0.1:{proxy.port}"


def test_headers_of_openai_go_to_openai_alone(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-endpoint")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: team-secret\nAuthorization: Bearer sk-other-secret")
    one = serve(lambda h: send(h, 200, b"{}"))
    ask(one.url, secrets.read_key(None, "here"))
    assert "secret" not in str(one.asked) and "sk-of" not in str(one.asked)


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_without_end_is_refused(serve: Callable[..., Server], packed: bool) -> None:
    body = b'"' + b"a" * 300_000 + b'"'
    headers = {"content_encoding": "gzip"} if packed else {}
    one = serve(
        lambda h: send(h, 200, gzip.compress(body) if packed else body, content_type="application/json", **headers)
    )
    with pytest.raises(openai.APIConnectionError) as error:
        ask(one.url, max_bytes=100_000)
    assert isinstance(error.value.__cause__, http.TooLarge) and "100,000 bytes" in str(error.value.__cause__)
    ask(one.url, max_bytes=400_000)


def test_an_answer_that_drips_ends(serve: Callable[..., Server]) -> None:
    stop = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not stop.wait(0.05):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    one = serve(drip)
    with pytest.raises(openai.APITimeoutError):
        ask(one.url, timeout=0.4)
    stop.set()


@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_key_that_a_server_repeats_reaches_nobody(serve: Callable[..., Server], key: str, status: int) -> None:
    body = f'{{"id": "{KEY}", "error": {{"message": "wrong key {KEY}"}}}}'.encode()
    one = serve(lambda h: send(h, status, body, content_type="application/json", x_request_id=KEY))
    if status == 200:
        assert ask(one.url, key).id == secrets.MASK
    else:
        with pytest.raises(openai.APIStatusError) as error:
            ask(one.url, key)
        assert KEY not in f"{error.value} {error.value.body} {error.value.response.text} {error.value.response.headers}"
    assert one.asked[0]["authorization"] == f"Bearer {KEY}"
