"""A tokenizer of SentencePiece's kind, as tokenizer.json of Llama 2, Mistral and Gemma has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, trainers

from tests.support.tiny_tokenizer import TEXT

CONTROL = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
# Gemma's: runs of white space and tags are tokens of their own.
USER_DEFINED = ("\n\n", "▁▁", "▁▁▁", "<b>")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + m['role'] + '\n' + m['content'] "
    "+ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>assistant\n' }}{% endif %}"
)


def give_sentencepiece(folder: Path, *, prefixed: bool) -> Tokenizer:
    """Put such a tokenizer into a checkpoint's folder; `prefixed`: a space before every text."""
    trained = _train()
    words = [token for token, _ in sorted(trained["vocab"].items(), key=lambda pair: pair[1])]
    names = [*CONTROL, *BYTES, *USER_DEFINED]
    names += [word for word in dict.fromkeys([*words, "\n", "b", "<", ">"]) if word not in names]
    vocab = {name: number for number, name in enumerate(names)}
    added = [_added(vocab, name, special=True) for name in CONTROL]
    # Where texts get a space before them, runs of spaces are ordinary tokens (Llama 2, Mistral).
    typed = [name for name in USER_DEFINED if not (prefixed and "▁" in name)]
    added += [_added(vocab, name, special=False) for name in typed]
    state: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": _normalizer(prefixed),
        "pre_tokenizer": None,
        "post_processor": _bos(vocab),
        "decoder": {"type": "Sequence", "decoders": [_SPACES, {"type": "ByteFallback"}, _FUSE]},
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": vocab,
            "merges": _merges(vocab, ["".join(pair) for pair in trained["merges"]]),
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    config = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    config |= {"pad_token": "<pad>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "add_bos_token": True}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 5]}))
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


_SPACES = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
_FUSE = {"type": "Fuse"}


def _normalizer(prefixed: bool) -> dict[str, Any]:
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    if not prefixed:
        return replace
    return {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]}


def _train() -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    # Enough to join words, few enough that no two of them are joined.
    trainer = trainers.BpeTrainer(vocab_size=170, show_progress=False, min_frequency=1)
    words = [f"▁{word}" for text in TEXT for word in text.split()]
    tokenizer.train_from_iterator(words, trainer)
    return json.loads(tokenizer.to_str())["model"]


def _merges(vocab: dict[str, int], joined: list[str]) -> list[tuple[str, str]]:
    """All ways to cut each token in two, as a model of SentencePiece is written out."""
    pairs: list[tuple[str, str]] = []
    for name in [*sorted(USER_DEFINED, key=len, reverse=True), *joined]:
        cuts = [(name[:cut], name[cut:]) for cut in range(1, len(name))]
        found = [(left, right) for left, right in cuts if left in vocab and right in vocab]
        pairs += sorted(found, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
    return pairs


def _added(vocab: dict[str, int], name: str, *, special: bool) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": vocab[name], "content": name, "special": special, **flags}


def _bos(vocab: dict[str, int]) -> dict[str, Any]:
    start = {"SpecialToken": {"id": "<bos>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    more = {"Sequence": {"id": "B", "type_id": 1}}
    known = {"<bos>": {"id": "<bos>", "ids": [vocab["<bos>"]], "tokens": ["<bos>"]}}
    return {
        "type": "TemplateProcessing",
        "single": [start, text],
        "pair": [start, text, more],
        "special_tokens": known,
    }
