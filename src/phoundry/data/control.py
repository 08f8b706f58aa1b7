"""Keep what people write apart from the tokens that give a conversation its shape.

A control token such as `<|im_end|>` ends a turn. If a user types those ten characters, they must
stay ten characters: otherwise anyone could end their own turn and speak as the system. So:

1. before the template runs, control text inside contents, tool calls and tools is swapped for an
   alias of equal length, made of one private-use character of plane 16, which no template looks at;
2. afterwards, every control text left was written by the template;
3. a second tokenizer, in which each control token is *named* by its alias, then encodes the text
   with the two swapped: the aliases become control tokens, the user's text becomes ordinary tokens.

Text with no control text in its contents (nearly all) takes none of these steps, and its ids are
those of the plain tokenizer. Nothing is encoded in separate pieces, so that tokenizers that look at
the start of the text or swallow white space around a token behave as ever.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

from tokenizers import Tokenizer

from phoundry.data.words import WordEncoder, known
from phoundry.errors import InvalidInput

_FIRST_ALIAS = 0x100000
_ALIASES = re.compile("[\U00100000-\U0010fffd]")


class ControlTokens:
    """The control tokens of one tokenizer: by id, with the text of each.

    `ambiguous` are those that stand for unknown characters too. Nobody can write them either, but
    that one is there says nothing: they are not in `ids`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        texts: Mapping[int, str],
        ambiguous: frozenset[int] = frozenset(),
    ) -> None:
        self.ids = frozenset(texts) - ambiguous
        self._tokenizer = tokenizer
        self._texts = dict(texts)
        ordered = sorted(texts.values())
        self._alias = {
            text: chr(_FIRST_ALIAS + place) * len(text) for place, text in enumerate(ordered)
        }
        self._id_of = {text: token for token, text in texts.items()}
        self._swap = self._alias | {alias: text for text, alias in self._alias.items()}
        self._pattern = _any_of(self._alias)
        self._counted = _any_of(texts[token] for token in self.ids)
        self._either = _any_of(self._swap)
        self._aliases = _any_of(self._alias.values())

    def starts(self, text: str) -> list[int]:
        """Where in `text` (after `guard`) the control tokens of the template begin."""
        return [found.start() for found in self._counted.finditer(text)]

    def first(
        self, text: str, after: int, among: Container[int] | None = None
    ) -> tuple[int, int] | None:
        """Where in `text` the first control token at or after a position begins and ends.

        `among` leaves out those whose ids it has not.
        """
        for found in self._counted.finditer(text, after):
            if among is None or self._id_of[found.group()] in among:
                return found.span()
        return None

    def guard(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None
    ) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]] | None, bool]:
        """Messages and tools with control text in them made inert; whether there was any.

        Raises:
            InvalidInput: they hold control text and private-use characters that stand for it.
        """
        written = (text for part in (tools, *messages) for text in _texts(part))
        if not any(map(self._pattern.search, written)):
            return messages, tools, False
        parts: list[tuple[str, Any]] = [("tools", tools)]
        parts += [(f"messages[{place}]", message) for place, message in enumerate(messages)]
        for where, part in parts:
            if any(_ALIASES.search(text) for text in _texts(part)):
                raise InvalidInput(
                    f"{where} has private-use characters (U+100000 to U+10FFFD) in a "
                    "conversation that also has control tokens as text.",
                    remedy="Remove one or the other.",
                )
        return self._inert(messages), self._inert(tools), True

    def encode(self, text: str, guarded: bool) -> list[int]:
        """Ids of rendered text: the template's control tokens, and everything else as plain text.

        Raises:
            InvalidInput: the tokenizer makes a control token of plain text, whatever is done.
        """
        expected = len(self.starts(text))
        if not guarded:
            ids = self._plain(text)
            if self._count(ids) == expected:
                return ids
            # A normaliser has made one of other characters, such as full-width ones.
        if guarded or not self._aliases.search(text):
            swapped = self._either.sub(self._swapped, text)
            ids = self._renamed.encode(swapped, add_special_tokens=False).ids
            if self._count(ids) == expected:
                return ids
        raise InvalidInput(
            "The conversation holds text that the tokenizer takes for control tokens.",
            remedy="Remove text such as <|end|> or <|im_end|> from the messages.",
        )

    def _plain(self, text: str) -> list[int]:
        if self._words is not None:
            return self._words.encode(text)
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _inert(self, value: Any) -> Any:
        """`value` with control text swapped in all texts, keys of objects too."""
        if isinstance(value, str):
            return self._pattern.sub(self._swapped, value)
        if isinstance(value, Mapping):
            held = cast("Mapping[str, Any]", value)
            return {self._inert(key): self._inert(part) for key, part in held.items()}
        if isinstance(value, (list, tuple)):
            return [self._inert(part) for part in cast("Sequence[Any]", value)]
        return value

    def _count(self, ids: Iterable[int]) -> int:
        return sum(map(self.ids.__contains__, ids))

    def _swapped(self, found: re.Match[str]) -> str:
        return self._swap[found.group()]

    @cached_property
    def _words(self) -> WordEncoder | None:
        return known(self._tokenizer)

    @cached_property
    def _renamed(self) -> Tokenizer:
        """The same tokenizer, its control tokens called by their aliases; the same ids."""
        state: dict[str, Any] = json.loads(self._tokenizer.to_str())
        for token in state["added_tokens"]:
            if token["id"] in self._texts:
                token["content"] = self._alias[token["content"]]
        model: dict[str, Any] = state["model"]
        vocabulary = model["vocab"]
        names = {text: self._alias[text] for text in self._texts.values()}
        if isinstance(vocabulary, dict):
            entries = cast("dict[str, int]", vocabulary)
            model["vocab"] = {names.get(text, text): token for text, token in entries.items()}
        else:  # Unigram: a list of [text, score]
            pairs = cast("list[list[Any]]", vocabulary)
            model["vocab"] = [[names.get(text, text), score] for text, score in pairs]
        if model.get("unk_token") in names:
            model["unk_token"] = names[model["unk_token"]]
        # It names tokens by their text, and is never asked: we encode without special tokens.
        state["post_processor"] = None
        return Tokenizer.from_str(json.dumps(state))


class EncodedText:
    """Rendered text with its ids, and how many of them a part of the text takes."""

    def __init__(self, control: ControlTokens, text: str, guarded: bool) -> None:
        self.ids = control.encode(text, guarded)
        self._control, self._text, self._guarded = control, text, guarded
        self._starts = control.starts(text)
        self._places = [place for place, token in enumerate(self.ids) if token in control.ids]

    def tokens_before(self, end: int) -> int | None:
        """Number of tokens of `text[:end]`, or None where the ids of that are not our first ones.

        What lies before a control token has no influence on what follows it, so only the text from
        the last control token before `end` is encoded again.
        """
        known = bisect_left(self._starts, end)
        start, place = (self._starts[known - 1], self._places[known - 1]) if known else (0, 0)
        tail = self._control.encode(self._text[start:end], self._guarded)
        after = place + len(tail)
        return after if self.ids[place:after] == tail else None


def _texts(value: Any) -> Iterator[str]:
    """Every text in `value`, keys of objects too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        held = cast("Mapping[str, Any]", value)
        if len(held) == 2 and "content" in held:  # a message without more: nearly all
            yield held["content"]
            return
        for key, part in held.items():
            yield key
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        for part in cast("Sequence[Any]", value):
            yield from _texts(part)


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Matches the longest of `texts`, or nothing where there are none."""
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(re.escape(text) for text in longest_first) or r"(?!)")
