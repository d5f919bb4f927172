"""A server on this machine with OpenAI's file and batch endpoints, which can be told to fail and to kill its client."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[dict[str, Any]], dict[str, Any]]


def answer(row: dict[str, Any]) -> dict[str, Any]:
    """A line of an output file for one of an input file."""
    message = {"role": "assistant", "content": f"There is edema in {row['custom_id'][:8]}."}
    body = {
        "id": f"chat-{row['custom_id'][:8]}",
        "model": "m-2026",
        "choices": [{"message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }
    return {
        "id": f"line-{row['custom_id'][:8]}",
        "custom_id": row["custom_id"],
        "response": {"status_code": 200, "body": body},
        "error": None,
    }


class BatchServer:
    """
    Args:
        reply: makes a line of the output of one of the input; one with another status than 200 goes to the error file.
        looks: times that a batch is looked at before it is done.

    Attributes:
        calls: method and path of all requests, in order.
        fail: number of a call (from 0) to what is done in its place: a status, or "kill" or "drop" after it was done.
        client: process that "kill" kills.
    """

    def __init__(self, reply: Reply = answer, looks: int = 1, status: str = "completed") -> None:
        self.reply, self.looks, self.status = reply, looks, status
        self.files: dict[str, bytes] = {}
        self.deleted: list[str] = []
        self.batches: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.keys: set[str] = set()
        self.fail: dict[int, int | str] = {}
        self.client, self.lists, self.extra = 0, True, b""
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with outer.lock:
                    outer.handle(self, body)

            do_GET = do_POST = do_DELETE = handle_one

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def asked(self) -> list[str]:
        """Keys of all questions that a batch was begun for, each as often as it was paid for."""
        return [
            json.loads(row)["custom_id"]
            for own in self.batches.values()
            for row in self.files[own["input_file_id"]].splitlines()
        ]

    def handle(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        fault = self.fail.get(len(self.calls))
        self.calls.append(f"{handler.command} {handler.path.split('?')[0]}")
        self.keys.add(handler.headers.get("authorization", ""))
        if isinstance(fault, int):
            error = {"message": "scripted", "code": str(fault)}
            self.send(handler, fault, json.dumps({"error": error}).encode(), {"retry-after": "0.01"})
            return
        status, content = self.act(handler, body)
        if fault == "kill":
            os.kill(self.client, signal.SIGKILL)
        if fault in ("kill", "drop"):
            handler.close_connection = True
            handler.connection.close()
            return
        self.send(handler, status, content, {})

    def send(self, handler: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str]) -> None:
        handler.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(content)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    def act(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        call, path = self.calls[-1], handler.path.split("?")[0].removeprefix("/v1")
        if call == "POST /v1/files":
            name = f"file-in{len(self.files)}"
            self.files[name] = _uploaded(handler.headers["content-type"], body)
            return 200, json.dumps(
                {"id": name, "object": "file", "bytes": 1, "created_at": 1, "purpose": "batch"}
            ).encode()
        if found := re.fullmatch(r"/files/([\w-]+)/content", path):
            return 200, self.files[found[1]]
        if handler.command == "DELETE":
            self.deleted.append(path.removeprefix("/files/"))
            return 200, b'{"id": "x", "object": "file", "deleted": true}'
        if call == "POST /v1/batches":
            given = json.loads(body)
            name = f"batch_{len(self.batches)}"
            self.batches[name] = {"id": name, "object": "batch", "created_at": int(time.time()), "looks": 0, **given}
            self.batches[name]["status"] = "validating"
            return 200, json.dumps(self.batches[name]).encode()
        if call == "GET /v1/batches":
            rows = list(self.batches.values())[::-1]
            return (200, json.dumps({"data": rows, "has_more": False}).encode()) if self.lists else (404, b"{}")
        return 200, json.dumps(self.look(path.removeprefix("/batches/"))).encode()

    def look(self, name: str) -> dict[str, Any]:
        own = self.batches[name]
        own["looks"] += 1
        if own["looks"] > self.looks and own["status"] != self.status:
            rows = [self.reply(json.loads(row)) for row in self.files[own["input_file_id"]].splitlines()]
            rows = [row for row in rows if row][::-1]  # in no order
            for kind, right in (("output", True), ("error", False)):
                lines = [row for row in rows if ((row.get("response") or {}).get("status_code") == 200) == right]
                if lines:
                    self.files[f"file-{kind}-{name}"] = b"".join(json.dumps(r).encode() + b"\n" for r in lines) + (
                        self.extra if right else b""
                    )
                    own[f"{kind}_file_id"] = f"file-{kind}-{name}"
            own["status"] = self.status
        elif own["status"] == "validating":
            own |= {"status": "in_progress", "request_counts": {"completed": 0, "failed": 0, "total": 1}}
        return own

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _uploaded(kind: str, body: bytes) -> bytes:
    """The file of a form."""
    parts = BytesParser(policy=HTTP).parsebytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + body)
    (own,) = [part for part in parts.iter_parts() if part.get_filename()]
    return own.get_payload(decode=True)
