"""A SentencePiece tokenizer inside a GGUF file (Llama 2, Mistral, Gemma) as tokenizer.json.

SentencePiece's BPE joins the two neighbours whose union has the highest score; tokenizer.json lists
the pairs in the order in which they are joined. A token's pairs are all its ways to be cut into two
tokens, and their place is its score.
"""

from __future__ import annotations

import json
from typing import Any

from phoundry.errors import InvalidInput
from phoundry.models.gguf_file import GGUFFile
from phoundry.models.gguf_tokens import NORMAL, USER_DEFINED, added_tokens, vocabulary

_SPACE = "▁"


def sentencepiece_json(source: GGUFFile) -> str:
    """tokenizer.json as text.

    Raises:
        InvalidInput: the file does not hold all that the tokenizer did.
    """
    if source.architecture == "phi3":
        # Its control tokens swallow the white space after them, which the file does not say.
        raise _unreadable(source, "Phi-3's tokenizer is not written to GGUF whole")
    tokens: list[str] = [str(token) for token in source.get("tokenizer.ggml.tokens")]
    kinds: list[int] = source.get("tokenizer.ggml.token_type") or [NORMAL] * len(tokens)
    scores: list[float] = source.get("tokenizer.ggml.scores") or []
    if len(scores) != len(tokens) or len(kinds) != len(tokens):
        raise _unreadable(source, "tokens, scores and types are not equally many")
    # llama.cpp has user-defined tokens as they are typed, tokenizer.json as they are joined.
    names = [
        token.replace(" ", _SPACE) if kind == USER_DEFINED else token
        for token, kind in zip(tokens, kinds, strict=True)
    ]
    unknown: int | None = source.get("tokenizer.ggml.unknown_token_id")
    prefixed = bool(source.get("tokenizer.ggml.add_space_prefix", True))
    entries: list[dict[str, Any]] = [
        {**entry, "content": names[entry["id"]]} for entry in added_tokens(source)
    ]
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": entries,
        "normalizer": _normalizer(prefixed),
        "pre_tokenizer": None,
        "post_processor": _start(source, names),
        "decoder": _decoder(prefixed),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None if unknown is None else names[unknown],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary(source, names),
            "merges": _merges(source, names, kinds, scores),
        },
    }
    return json.dumps(tokenizer, ensure_ascii=False)


def _merges(
    source: GGUFFile, names: list[str], kinds: list[int], scores: list[float]
) -> list[tuple[str, str]]:
    """Pairs in the order in which they are joined; user-defined tokens first, longest first."""
    number = {name: place for place, name in enumerate(names)}
    usable = (NORMAL, USER_DEFINED)
    made: list[tuple[tuple[float, float], int, int, str, str]] = []
    for name, kind, score in zip(names, kinds, scores, strict=True):
        if kind not in usable:
            continue
        rank = (0.0, -float(len(name))) if kind == USER_DEFINED else (1.0, -score)
        for cut in range(1, len(name)):
            left, right = number.get(name[:cut]), number.get(name[cut:])
            if left is None or right is None:
                continue
            if kinds[left] in usable and kinds[right] in usable:
                made.append((rank, left, right, name[:cut], name[cut:]))
    ranks = {entry[0] for entry in made}
    tokens = {entry[3] + entry[4] for entry in made}
    # A converter that had no scores writes the same one for every token.
    if len(tokens) > 1 and 2 * len(ranks) < len(tokens):
        raise _unreadable(source, "the scores of its tokens say no order")
    made.sort()
    return [(left, right) for *_, left, right in made]


def _normalizer(prefixed: bool) -> dict[str, Any]:
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    if not prefixed:
        return replace
    return {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": _SPACE}, replace]}


def _decoder(prefixed: bool) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prefixed:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def _start(source: GGUFFile, names: list[str]) -> dict[str, Any] | None:
    """The beginning-of-text token before a text, where the file asks for it."""
    bos: int | None = source.get("tokenizer.ggml.bos_token_id")
    if bos is None or not source.get("tokenizer.ggml.add_bos_token", True):
        return None
    token = names[bos]

    def parts(sequence: str, number: int) -> list[dict[str, Any]]:
        return [
            {"SpecialToken": {"id": token, "type_id": number}},
            {"Sequence": {"id": sequence, "type_id": number}},
        ]

    return {
        "type": "TemplateProcessing",
        "single": parts("A", 0),
        "pair": [*parts("A", 0), *parts("B", 1)],
        "special_tokens": {token: {"id": token, "ids": [bos], "tokens": [token]}},
    }


def _unreadable(source: GGUFFile, why: str) -> InvalidInput:
    return InvalidInput(
        f"The tokenizer in {source.path} cannot be read back: {why}.",
        remedy="Use the model's Hugging Face checkpoint instead of its GGUF file.",
    )
