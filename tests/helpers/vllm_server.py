"""A server on this machine with vLLM's protocol: the base network, adapters that it is told to load by plain peft,
images and questions by plain transformers. Nothing of this project's own loading is in it."""

from __future__ import annotations

import base64
import copy
import io
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from peft import LoraConfig, PeftModel
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoTokenizer, GenerationConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

PAD = "<|image_pad|>"


def error(status: int, message: str, kind: str = "BadRequestError") -> JSONResponse:
    """As vLLM says what is wrong."""
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": status}}, status)


class VLLMServer:
    """
    Args:
        folder: of the base model.
        max_lora_rank, max_model_len: vLLM's options; rank 0: it takes no adapters while it runs.
        kind: ``vllm``, or ``sglang`` with that server's paths and names.

    Attributes:
        calls: method and path of each request; of a chat with the model that was asked.
        bodies: of all chats.
        adapters: what is loaded, by name.
        kill_at: number of the chat (from 1) at which ``client`` is killed.
        answers_as: another name that it puts under its answers.
        fail: statuses with which the next chats are refused.
        hangs: seconds that a chat takes longer.
        most: chats that were under way at a time.
    """

    def __init__(
        self, folder: Path, *, max_lora_rank: int = 64, max_model_len: int = 4096, kind: str = "vllm", name: str = ""
    ) -> None:
        self.folder, self.max_lora_rank, self.max_model_len, self.kind = folder, max_lora_rank, max_model_len, kind
        self.name = name or str(folder)
        self.network = AutoModelForImageTextToText.from_pretrained(folder).eval()
        self.words = AutoTokenizer.from_pretrained(folder)
        self.eyes = Qwen2VLImageProcessorPil.from_pretrained(folder)
        self.adapters: dict[str, tuple[str, Any]] = {}
        self.ever: list[str] = []
        self.calls: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.kill_at, self.client, self.answers_as, self.extra_tokens = 0, 0, "", 0
        self.fail: list[int] = []
        self.hangs, self.under_way, self.most = 0.0, 0, 0
        self.lock, self.counting = threading.Lock(), threading.Lock()
        config = uvicorn.Config(self._app(), host="127.0.0.1", port=0, log_level="error")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}/v1"

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join()

    @property
    def chats(self) -> list[str]:
        """The model of each chat, in order."""
        return [body["model"] for body in self.bodies]

    def _app(self) -> FastAPI:
        app, root = FastAPI(), "" if self.kind == "sglang" else "/v1"

        @app.get("/version")
        def version() -> dict[str, str]:
            return {"version": "0.0-loopback"}

        @app.get("/v1/models")
        def models() -> dict[str, Any]:
            self.calls.append("models")
            base = {
                "id": self.name,
                "root": str(self.folder),
                "owned_by": self.kind,
                "parent": None,
                "max_model_len": self.max_model_len,
            }
            over = [
                {"id": n, "root": p, "owned_by": self.kind, "parent": self.name} for n, (p, _) in self.adapters.items()
            ]
            return {"object": "list", "data": [base, *over]}

        async def load(request: Request) -> Any:
            body = await request.json()
            self.calls.append(f"load {body['lora_name']}")
            return self.load(body["lora_name"], body["lora_path"])

        async def unload(request: Request) -> Any:
            name = (await request.json())["lora_name"]
            self.calls.append(f"unload {name}")
            if self.adapters.pop(name, None) is None:
                return error(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
            return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

        if self.max_lora_rank:
            app.post(f"{root}/load_lora_adapter")(load)
            app.post(f"{root}/unload_lora_adapter")(unload)

        @app.post("/v1/chat/completions")
        def chat(body: dict[str, Any]) -> Any:
            return self.chat(body)

        return app

    def load(self, name: str, path: str) -> Any:
        if not name or not path:
            return error(400, "Both 'lora_name' and 'lora_path' must be provided.", "InvalidUserInput")
        if name in self.adapters:
            return error(400, f"The lora adapter '{name}' has already been loaded.", "InvalidUserInput")
        rank = LoraConfig.from_pretrained(path).r
        if rank > self.max_lora_rank:
            return error(500, f"LoRA rank {rank} is greater than max_lora_rank {self.max_lora_rank}.")
        model = PeftModel.from_pretrained(copy.deepcopy(self.network), path).eval()
        self.adapters[name] = (path, model)
        self.ever.append(name)
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    def chat(self, body: dict[str, Any]) -> Any:
        with self.counting:
            self.bodies.append(body)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            if len(self.bodies) == self.kill_at:
                os.kill(self.client, signal.SIGKILL)
            status = self.fail.pop(0) if self.fail else 0
        try:
            time.sleep(self.hangs)
            if status:
                return error(status, "scripted")
            with self.lock, torch.no_grad():
                return self.answer(body)
        finally:
            with self.counting:
                self.under_way -= 1

    def answer(self, body: dict[str, Any]) -> Any:
        asked = body["model"]
        name = asked.partition(":")[2] if self.kind == "sglang" and ":" in asked else asked
        model = self.network if name == self.name else self.adapters.get(name, ("", None))[1]
        if model is None:
            return error(404, f"The model `{asked}` does not exist.", "NotFoundError")
        inputs = self.inputs(body["messages"])
        length, limit = inputs["input_ids"].shape[1], body["max_tokens"]
        if length + limit > self.max_model_len:
            return error(400, f"This model's maximum context length is {self.max_model_len} tokens.")
        torch.manual_seed(body["seed"])
        ids = model.generate(**inputs, generation_config=_how(body, self.words.pad_token_id))[0, length:].tolist()
        ended = bool(ids) and ids[-1] in body["stop_token_ids"]
        text = self.words.decode(ids, skip_special_tokens=body["skip_special_tokens"])
        message = {"role": "assistant", "content": text}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": self.answers_as or asked,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop" if ended else "length"}],
            "usage": {"prompt_tokens": length + self.extra_tokens, "completion_tokens": len(ids)},
        }

    def inputs(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """The conversation by the model's template, each image as many tokens as it has patches."""
        images = [
            part["image_url"]["url"] for turn in messages for part in turn["content"] if part["type"] == "image_url"
        ]
        opened = [Image.open(io.BytesIO(base64.b64decode(url.partition("base64,")[2]))) for url in images]
        turns = [
            {**turn, "content": [{"type": "image"} if "image_url" in part else part for part in turn["content"]]}
            for turn in messages
        ]
        text = self.words.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        seen = self.eyes(images=opened, return_tensors="pt") if opened else {}
        for grid in seen.get("image_grid_thw", []):
            text = text.replace(PAD, "<|shown|>" * (int(grid.prod()) // self.eyes.merge_size**2), 1)
        made = self.words(text.replace("<|shown|>", PAD), return_tensors="pt", add_special_tokens=False)
        shown = (made["input_ids"] == self.words.convert_tokens_to_ids(PAD)).int()
        return {
            "input_ids": made["input_ids"],
            "attention_mask": made["attention_mask"],
            "mm_token_type_ids": shown,
            **seen,
        }


def _how(body: dict[str, Any], pad: int) -> GenerationConfig:
    sampled = {key: body[key] for key in ("temperature", "top_p")} if body["temperature"] else {}
    sampled |= {"top_k": max(body["top_k"], 0)} if sampled else {}
    return GenerationConfig(
        max_new_tokens=body["max_tokens"],
        do_sample=bool(sampled),
        repetition_penalty=body["repetition_penalty"],
        eos_token_id=body["stop_token_ids"],
        pad_token_id=pad,
        **sampled,
    )
