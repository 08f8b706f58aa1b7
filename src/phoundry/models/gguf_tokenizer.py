"""The tokenizer inside a GGUF file as Hugging Face's tokenizer.json.

GGUF names the way a text is cut before byte-pair merging (`tokenizer.ggml.pre`) where
tokenizer.json spells it out. transformers' own reader knows GPT-2's way alone, so that its
SmolLM2 reads "2026" as another number of tokens than llama.cpp and the training of the model did.
"""

from __future__ import annotations

import json
from typing import Any

from phoundry.errors import InvalidInput
from phoundry.models.gguf_file import GGUFFile
from phoundry.models.gguf_sentencepiece import sentencepiece_json
from phoundry.models.gguf_tokens import added_tokens, vocabulary


def _byte_level(*, use_regex: bool) -> dict[str, Any]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def _split(pattern: str) -> dict[str, Any]:
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [cut, _byte_level(use_regex=False)]}


_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# What llama.cpp's unicode_regex_split does for each name (llama-vocab.cpp), as tokenizer.json
# of the original models writes it.
PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    "gpt-2": _byte_level(use_regex=True),
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            _byte_level(use_regex=True),
        ],
    },
    "llama-bpe": _split(_WORDS + r"\p{N}{1,3}" + _REST),
    "qwen2": _split(_WORDS + r"\p{N}" + _REST),
}


def tokenizer_json(source: GGUFFile) -> str:
    """tokenizer.json as text.

    Raises:
        InvalidInput: neither byte-level BPE, cut in a known way, nor SentencePiece's.
    """
    model, pre = source.get("tokenizer.ggml.model"), source.get("tokenizer.ggml.pre", "gpt-2")
    if model == "llama":
        return sentencepiece_json(source)
    if model != "gpt2" or pre not in PRE_TOKENIZERS:
        known = ", ".join(["llama", *(f"gpt2/{name}" for name in PRE_TOKENIZERS)])
        raise InvalidInput(
            f"{source.path} has a tokenizer of the kind '{model}/{pre}'; readable are {known}.",
            remedy="Use the model's Hugging Face checkpoint instead of its GGUF file.",
        )
    tokens, merges = source.get("tokenizer.ggml.tokens"), source.get("tokenizer.ggml.merges")
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(source),
        "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZERS[pre],
        "post_processor": None,
        "decoder": _byte_level(use_regex=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre == "llama-bpe",
            "vocab": vocabulary(source, tokens),
            "merges": [merge.split(" ", 1) for merge in merges],
        },
    }
    return json.dumps(tokenizer, ensure_ascii=False)


def tokenizer_config(source: GGUFFile) -> dict[str, Any]:
    """tokenizer_config.json. The class is the one that takes tokenizer.json as it is."""
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": source.get("{arch}.context_length"),
        "clean_up_tokenization_spaces": False,
        "add_bos_token": bool(
            source.get(
                "tokenizer.ggml.add_bos_token", source.get("tokenizer.ggml.model") == "llama"
            )
        ),
    }
    tokens = source.get("tokenizer.ggml.tokens")
    names = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
    for key, name in names.items():
        number = source.get(f"tokenizer.ggml.{key}_token_id")
        config[name] = None if number is None else tokens[number]
    config["pad_token"] = config["pad_token"] or config["eos_token"]
    return config
