"""llama.cpp's tokenizer for a real vocabulary: in a GGUF file of ours, with a tiny model around."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import httpx

from phoundry.models.convert import convert


@contextmanager
def served_tokenizer(tokenizer: Path, working: Path) -> Generator[Callable[[str], list[int]]]:
    """Converts a tiny Llama with the vocabulary in `tokenizer`, and asks llama.cpp for ids."""
    checkpoint = _checkpoint(tokenizer, working / "checkpoint")
    gguf = working / "tiny.gguf"
    convert(checkpoint, gguf, "F16")
    xllamacpp = cast("Any", import_module("xllamacpp"))
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_ctx, params.n_parallel, params.verbosity, params.port = 64, 1, 0, 0
    params.warmup = False
    server = xllamacpp.Server(params)
    with httpx.Client(base_url=server.listening_address, trust_env=False, timeout=60) as client:

        def ids(text: str) -> list[int]:
            request = {"content": text, "add_special": False, "parse_special": True}
            return client.post("/tokenize", json=request).raise_for_status().json()["tokens"]

        yield ids
    del server  # which stops it


def _checkpoint(tokenizer: Path, folder: Path) -> Path:
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    size = Tokenizer.from_file(str(tokenizer / "tokenizer.json")).get_vocab_size()
    eos = json.loads((tokenizer / "tokenizer_config.json").read_text())["eos_token"]
    end = Tokenizer.from_file(str(tokenizer / "tokenizer.json")).token_to_id(eos)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        eos_token_id=end,
        bos_token_id=None,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder / name)
    return folder
