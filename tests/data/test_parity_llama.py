"""The same ids as llama.cpp makes of the same text, from a GGUF file that Phoundry wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from hypothesis import given

from phoundry.data import ChatMessage, ChatTokenizer
from phoundry.models.convert import convert
from tests.data.chats import chats, steady, without_control_text
from tests.support.checkpoints import build

Tokenize = Callable[[str], list[int]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("llama", tmp_path_factory.mktemp("llama") / "tiny")


@pytest.fixture(scope="module")
def tokenize(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokenize]:
    """llama.cpp's tokenizer, over the HTTP server that xllamacpp runs on loopback."""
    xllamacpp = cast("Any", import_module("xllamacpp"))

    gguf = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    convert(checkpoint, gguf, "F16")
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_ctx, params.n_parallel, params.verbosity, params.port = 64, 1, 0, 0
    params.warmup = False
    server = xllamacpp.Server(params)
    client = httpx.Client(base_url=server.listening_address, trust_env=False, timeout=60)

    def ids(text: str) -> list[int]:
        request = {"content": text, "add_special": False, "parse_special": True}
        return client.post("/tokenize", json=request).raise_for_status().json()["tokens"]

    yield ids
    client.close()
    del server  # which stops it


@steady
@given(chats())
def test_prompts_and_examples(
    checkpoint: Path, tokenize: Tokenize, messages: list[ChatMessage]
) -> None:
    tokenizer = ChatTokenizer.load(checkpoint)
    messages = without_control_text(messages)
    assert tokenizer.render_prompt(messages) == tokenize(tokenizer.render_text(messages, True))
    example = tokenizer.render_example(messages)
    assert example.token_ids == tokenize(tokenizer.render_text(messages, False))
