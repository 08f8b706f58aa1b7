"""Byte-level BPE word by word: the ids of the `tokenizers` library, several times as fast.

Such a tokenizer first cuts a text into words by a regular expression and then encodes each word on
its own, so a word that was met before need not be encoded again. Text is cut here by an expression
that is the tokenizer's own for ASCII. Where anything else comes up, everything up to the next ASCII
character with a space after it is handed to the library in one piece: no word of these tokenizers
has a space after another character, so that is the end of a word whatever stands before it.

Tokenizers that are not known to work so (`known` returns None) are left to the library.
"""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import Any, cast

from tokenizers import Tokenizer
from tokenizers.models import BPE

# Words whose ids are kept; about 60 MB. Beyond it all are forgotten, and the frequent ones return.
MOST_WORDS = 300_000
# Of ASCII: white space, what is none, and what is neither space, letter nor digit.
_SPACE = r"[\t-\r ]"
_SOLID = r"[\x00-\x08\x0e-\x1f!-\x7f]"
_MARK = r"!-/:-@\[-`{-~\x00-\x08\x0e-\x1f\x7f"
_FOREIGN = r"[^\x00-\x7f]"
_REST = r"(?s:.)*?[!-~](?= )|(?s:.)+"
# A run of white space: all of it at the end, all but the last before another word, and all of it
# too before a foreign character (which may be a space, so that the run goes on).
_GAPS = rf"{_SPACE}++\Z|{_SPACE}+(?={_SPACE}{_SOLID})|[\t-\r](?={_SOLID})|{_SPACE}++"


def _words(ascii_words: str) -> str:
    return rf"(?>{ascii_words})(?:(?!{_FOREIGN})|{_REST})|{_REST}"


def _gpt2(digits: str, gaps: str = _GAPS) -> str:
    ends = "'(?:s|t|re|ve|m|ll|d)"
    return _words(rf"{ends}| ?[A-Za-z]++|{digits}| ?[{_MARK}]++|{gaps}")


def _llama3(digits: str) -> str:
    ends = "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"
    lines = rf"(?={_SPACE}++(?!{_FOREIGN})){_SPACE}*[\r\n]"
    letters = rf"[\t\x0b\x0c {_MARK}]?[A-Za-z]++"
    return _words(rf"{ends}|{letters}|{digits}| ?[{_MARK}]++[\r\n]*+|{lines}|{_GAPS}")


_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTES = ("ByteLevel", True)
_BYTES_ALONE = ("ByteLevel", False)
# The pre-tokenizers of GPT-2, SmolLM2, Llama 3 and Qwen 2 to 3.
_KNOWN: dict[tuple[Any, ...], str] = {
    (_BYTES,): _gpt2(" ?[0-9]++"),
    (("Digits", True), _BYTES): _gpt2("[0-9]", rf"{_SPACE}++(?=[0-9])|{_GAPS}"),
    (("Split", _LLAMA3 % r"\p{N}{1,3}"), _BYTES_ALONE): _llama3("[0-9]{1,3}+"),
    (("Split", _LLAMA3 % r"\p{N}"), _BYTES_ALONE): _llama3("[0-9]"),
}
# Every ASCII character before and after one of each kind.
_PROBE = "".join(
    f"{before}{char}{after}"
    for char in map(chr, range(128))
    for before, after in (("a", "b"), ("1", "2"), (" ", " "), (".", "!"), ("\n", "\n"), ("é", "ß"))
)


class WordEncoder:
    """Ids of texts, with a memory of words. Safe to share between threads."""

    def __init__(self, tokenizer: Tokenizer, pattern: str) -> None:
        added = tokenizer.get_added_tokens_decoder()
        texts = sorted((token.content for token in added.values()), key=len, reverse=True)
        self._memory = _Memory(tokenizer, {t.content: (number,) for number, t in added.items()})
        self._words = re.compile(pattern)
        self._added = re.compile("|".join(map(re.escape, texts)) or r"(?!)")

    def encode(self, text: str) -> list[int]:
        """What `tokenizer.encode(text, add_special_tokens=False).ids` is."""
        if len(self._memory) > MOST_WORDS:
            self._memory.forget()
        words = self._words.findall
        ids_of = self._memory.__getitem__
        ids: list[int] = []
        start = 0
        for found in self._added.finditer(text):
            ids += chain.from_iterable(map(ids_of, words(text, start, found.start())))
            ids += ids_of(found.group())
            start = found.end()
        ids += chain.from_iterable(map(ids_of, words(text, start)))
        return ids


class _Memory(dict[str, tuple[int, ...]]):
    def __init__(self, tokenizer: Tokenizer, kept: dict[str, tuple[int, ...]]) -> None:
        super().__init__(kept)
        self._tokenizer, self._kept = tokenizer, kept

    def __missing__(self, word: str) -> tuple[int, ...]:
        ids = tuple(self._tokenizer.encode(word, add_special_tokens=False).ids)
        self[word] = ids
        return ids

    def forget(self) -> None:
        self.clear()
        self.update(self._kept)


def known(tokenizer: Tokenizer) -> WordEncoder | None:
    """An encoder for `tokenizer` if it is of a known kind, and a probe encodes alike; else None."""
    pattern = _KNOWN.get(_kind(tokenizer))
    if pattern is None:
        return None
    encoder = WordEncoder(tokenizer, pattern)
    same = encoder.encode(_PROBE) == tokenizer.encode(_PROBE, add_special_tokens=False).ids
    return encoder if same else None


def _kind(tokenizer: Tokenizer) -> tuple[Any, ...]:
    """What cuts words, as keys of `_KNOWN` have it; () where something else has a part in it."""
    model, cutter = tokenizer.model, _state(tokenizer.pre_tokenizer)
    normalizer = _state(tokenizer.normalizer)
    # NFC leaves ASCII alone, and joins nothing across a space.
    plain = not normalizer or normalizer["type"] == "NFC" or normalizer.get("normalizers") == []
    if not plain or not cutter or not isinstance(model, BPE):
        return ()
    if model.dropout or model.continuing_subword_prefix or model.end_of_word_suffix:
        return ()
    for token in tokenizer.get_added_tokens_decoder().values():
        # Such a token takes more of the text than its own, or is found in other texts too.
        if token.lstrip or token.rstrip or token.single_word or not token.content.isascii():
            return ()
    steps = cutter["pretokenizers"] if cutter["type"] == "Sequence" else [cutter]
    return tuple(_step(step) for step in steps)


def _state(part: Any) -> dict[str, Any]:
    """A part of a tokenizer as tokenizer.json has it; writing all of one takes seconds."""
    return {} if part is None else cast("dict[str, Any]", json.loads(part.__getstate__()))


def _step(step: dict[str, Any]) -> tuple[str, Any]:
    kind = step["type"]
    if kind == "ByteLevel" and not step["add_prefix_space"]:
        return kind, step["use_regex"]
    if kind == "Digits":
        return kind, step["individual_digits"]
    if kind == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
        return kind, step["pattern"].get("Regex")
    return kind, None
