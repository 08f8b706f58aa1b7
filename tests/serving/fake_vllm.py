"""Speaks what vLLM's OpenAI server says of itself, as far as our engine asks: /health, and
/v1/completions with ids in and, with `return_token_ids`, ids out. It echoes the prompt.

The fields of a chunk and of an error are those of vLLM's `entrypoints/openai/completion` (protocol
and serving) as of 2026: the first chunk has `prompt_token_ids`, each the ids that came since, the
last one a `finish_reason`; then `[DONE]`. Prompts of one token choose a fault.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REFUSES, FAILS, BREAKS_OFF, SLOW = 7, 8, 9, 10
REQUIRED = {"model", "prompt", "max_tokens", "temperature", "stream", "return_token_ids"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200 if self.path == "/health" else 404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {os.environ['VLLM_API_KEY']}":
            self.answer(401, {"error": "Unauthorized"})
        elif self.path != "/v1/completions" or not body.keys() >= REQUIRED:
            self.answer(400, error("not understood"))
        elif body["prompt"] == [REFUSES]:
            self.answer(400, error("This model's maximum context length is 64 tokens."))
        else:
            self.stream(body)

    def stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        prompt: list[int] = body["prompt"]
        said = prompt * 4 if prompt == [SLOW] else [*prompt, *sorted(body["stop_token_ids"])[:1]]
        said = said[: body["max_tokens"]]
        ended = bool(said) and said[-1] in body["stop_token_ids"]
        for number, token in enumerate(said):
            last = number == len(said) - 1
            if prompt == [FAILS]:
                self.event(error("EngineCore encountered an issue."))
                break
            if prompt == [BREAKS_OFF]:
                self.close_connection = True
                return
            if prompt == [SLOW]:
                time.sleep(0.02)
            reason = ("stop" if ended else "length") if last else None
            self.event(chunk([token], reason, prompt if not number else None))
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def event(self, value: dict[str, Any]) -> None:
        self.chunk(f"data: {json.dumps(value)}\n\n".encode())

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def answer(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def chunk(ids: list[int], reason: str | None, prompt: list[int] | None) -> dict[str, Any]:
    choice: dict[str, Any] = {
        "index": 0,
        "text": "".join(f"<{token}>" for token in ids),
        "logprobs": None,
        "finish_reason": reason,
        "stop_reason": None,
        "prompt_token_ids": prompt,
        "token_ids": ids,
    }
    return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "model"} | {
        "choices": [choice],
        "usage": None,
    }


def error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("model", "served-model-name", "host", "load-format", "generation-config"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("port", "max-model-len", "max-num-seqs"):
        parser.add_argument(f"--{name}", required=True, type=int)
    told = parser.parse_args()
    if told.max_model_len == 13:
        sys.exit(3)
    ThreadingHTTPServer((told.host, told.port), Handler).serve_forever()
