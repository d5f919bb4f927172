"""A server with OpenAI's protocol that fails as real ones do, by a script that is drawn from a seed; it counts what it
gave to whom."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-0123456789abcdef"


def completion(text: Any, finish: str = "stop", *, model: str = "tiny", read: int = 100, **more: Any) -> dict[str, Any]:
    """An answer as the protocol has it."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, **more}, "finish_reason": finish}],
        "usage": {"prompt_tokens": read, "completion_tokens": 20, "total_tokens": read + 20},
    }


def error(message: str, code: str = "") -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "code": code}}


class Faulty:
    """What the server does with a request.

    Args:
        script: gives the fault of the n-th request (from 0): a name of `FAULTS`, or None for an answer.
        say: text of the answer to a question, by the question's hash.
        delay: seconds that an answer takes.
    """

    def __init__(
        self,
        script: Callable[[int], str | None] = lambda n: None,
        say: Callable[[str], dict[str, Any]] = lambda name: completion(f"No edema. ({name})"),
        delay: float = 0.0,
    ) -> None:
        self.script, self.say, self.delay = script, say, delay
        self.lock = threading.Lock()
        self.requests, self.faults = 0, Counter[str]()
        self.given, self.asked = Counter[str](), Counter[str]()
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.headers: list[dict[str, str]] = []
        self.paid: dict[str, bytes] = {}
        self.before: Callable[[str], None] = lambda name: None

    def turn(self, name: str) -> str | None:
        with self.lock:
            self.before(name)
            fault = self.script(self.requests)
            self.requests += 1
            self.asked[name] += 1
            self.times.append(time.monotonic())
            if fault:
                self.faults[fault] += 1
            return fault

    def answer(self, name: str, idempotency: str) -> bytes:
        """The same for one idempotency key, and paid for once."""
        with self.lock:
            if idempotency not in self.paid:
                self.paid[idempotency] = json.dumps(self.say(name)).encode()
                self.given[name] += 1
            return self.paid[idempotency]


def drawn(seed: int, share: float, faults: tuple[str, ...]) -> Callable[[int], str | None]:
    """A script in which a share of all requests fails."""
    own = random.Random(seed)
    return lambda n: own.choice(faults) if own.random() < share else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def handle(self) -> None:
        with suppress(ConnectionResetError):  # of a client that was killed
            super().handle()

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        own: Faulty = self.server.own
        try:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        except ValueError:  # cut off: its client was killed
            self.close_connection = True
            return
        name = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()[:16]
        own.bodies.append(body)
        own.headers.append({key.lower(): value for key, value in self.headers.items()})
        with suppress(BrokenPipeError, ConnectionResetError):
            paid = self.headers.get("Idempotency-Key", "") in own.paid
            if (fault := own.turn(name)) and not (paid and fault in CONTENT):
                FAULTS[fault](self, own, name)
                return
            time.sleep(own.delay)
            self.give(200, own.answer(name, self.headers.get("Idempotency-Key", "")))

    def give(self, status: int, content: bytes | dict[str, Any], **headers: str) -> None:
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def reset(self, own: Faulty, name: str) -> None:
        """The connection breaks in the middle of a body."""
        content = json.dumps(own.say(name)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def hang(self, own: Faulty, name: str) -> None:
        time.sleep(self.server.hang)
        self.close_connection = True


FAULTS: dict[str, Callable[[_Handler, Faulty, str], None]] = {
    "429": lambda h, own, name: h.give(429, error("slow down", "rate_limit_exceeded")),
    "429 after": lambda h, own, name: h.give(429, error("slow down"), Retry_After="0.05"),
    "429 far": lambda h, own, name: h.give(429, error("come tomorrow"), Retry_After="86400"),
    "500": lambda h, own, name: h.give(500, error("oh")),
    "503 html": lambda h, own, name: h.give(503, b"<html>down</html>", Content_Type="text/html"),
    "reset": _Handler.reset,
    "hang": _Handler.hang,
    "malformed": lambda h, own, name: h.give(200, b'{"choices": [{"mess'),
    "no choices": lambda h, own, name: h.give(200, {**own.say(name), "choices": []}),
    "huge": lambda h, own, name: h.give(200, {**own.say(name), "pad": "x" * h.server.huge}),
    "model": lambda h, own, name: h.give(404, error("The model 'tiny' does not exist", "model_not_found")),
    "key": lambda h, own, name: h.give(401, error(f"Incorrect API key provided: {KEY}", "invalid_api_key")),
    "quota": lambda h, own, name: h.give(429, error("You exceeded your quota", "insufficient_quota")),
    "bad": lambda h, own, name: h.give(400, error("image too large", "invalid_image")),
    "filter": lambda h, own, name: h.give(400, error("flagged", "content_filter")),
    "200 error": lambda h, own, name: h.give(200, error("upstream timed out", "504")),
}
CONTENT = ("malformed", "no choices", "huge")
"""Faults of an answer, which an endpoint that gives the same answer again has not."""
PASSING = ("429", "429 after", "500", "503 html", "reset", "hang", "malformed", "no choices", "huge", "model", "key")


@contextmanager
def served(own: Faulty, *, hang: float = 5.0, huge: int = 2_000_000) -> Iterator[str]:
    """The server's address, while it runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads, server.own, server.hang, server.huge = True, own, hang, huge  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
