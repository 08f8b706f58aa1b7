"""Secrets are hidden however a tool spells them, and wherever a stream is cut."""

from __future__ import annotations

import base64
import json
import re
import string
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phoundry.flows.session.redact import RedactedStream, redact, tail

KEYS = st.text(string.ascii_letters + string.digits + "+/=_-.", min_size=8, max_size=90)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=20)
AROUND = st.binary(max_size=7)

Spell = Callable[[str], str]
# A `repr` without its quotes: a secret is part of what is shown.
SPELLINGS: dict[str, Spell] = {
    "plain": str,
    "repr": lambda it: repr(it)[1:-1],
    "repr of a repr": lambda it: repr(repr(it)[1:-1])[1:-1],
    "ascii": lambda it: ascii(it)[1:-1],
    "bytes": lambda it: repr(it.encode())[2:-1],
    "json": lambda it: json.dumps(it)[1:-1],
    "json of unicode": lambda it: json.dumps(it, ensure_ascii=False)[1:-1],
    "json in json": lambda it: json.dumps(json.dumps(it)[1:-1])[1:-1],
    "json of others": lambda it: json.dumps(it)[1:-1].replace("/", "\\/").replace("<", "\\u003C"),
    "quoted": lambda it: quote(it, safe=""),
    "quoted in lower case": lambda it: re.sub("%..", lambda it: it[0].lower(), quote(it, safe="")),
    "quoted path": quote,
    "form": quote_plus,
    "quoted twice": lambda it: quote(quote(it)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@settings(max_examples=20)
@given(secret=st.one_of(KEYS, TEXTS))
@example('it\'s "so\\" <é> \U0001f600\n/&%')
@example("a key that ends in Ã")  # 0xc3 is its number and the first of its bytes
def test_a_secret_is_hidden_in_every_spelling(spelling: str, secret: str) -> None:
    text = SPELLINGS[spelling](secret)
    # Around it is what belongs to no spelling of anything.
    assert redact(f"«{text}» {{{text}}}", [secret]) == "«***» {***}"
    assert redact({f"«{text}»": [text, 1, None]}, [secret]) == {"«***»": ["***", 1, None]}


@given(secret=KEYS, before=AROUND, after=AROUND, wrapped=st.booleans(), safe=st.booleans())
def test_a_secret_is_hidden_within_base64(
    secret: str, before: bytes, after: bytes, wrapped: bool, safe: bool
) -> None:
    data = before + secret.encode() + after
    text = (base64.encodebytes if wrapped else base64.b64encode)(data).decode()
    if safe:
        text = text.replace("+", "-").replace("/", "_")
    shown = redact(f"Basic {text}", [secret])
    assert "***" in shown
    # What surrounded it is left, and at most a character that holds some bits of both.
    left = shown.removeprefix("Basic ").replace("\n", "")
    assert len(left) <= 3 + -(-len(before) * 8 // 6) + -(-len(after) * 8 // 6) + 4


def test_what_merely_looks_alike_is_left() -> None:
    assert redact("pass, passage, cGFz and %70ass", ["pass"]) == "***, ***age, cGFz and %70ass"
    text = "a word, ein Wort, Zm9vYmFyYmF6 and C:\\new\\table %20 \\u0041"
    assert redact(text, ["sk-1234567890", "p/q+r=s t"]) == text
    assert redact(text, []) == text


def test_the_longest_goes_first() -> None:
    assert redact("x abcd/efgh y abcd%2Fefgh z abcd", ["abcd", "abcd/efgh"]) == "x *** y *** z ***"


def test_lines_of_a_key_are_hidden_by_themselves() -> None:
    key = "-----BEGIN PRIVATE KEY-----\n" + "Ab1+" * 16 + "\n" + "Cd2/" * 16 + "\n-----END-----"
    shown = redact("INFO " + key.replace("\n", "\nINFO "), [key])
    assert shown.splitlines()[1:3] == ["INFO ***", "INFO ***"]
    assert redact(json.dumps({"key": key}), [key]) == '{"key": "***"}'


@given(
    secrets=st.lists(st.one_of(KEYS, TEXTS), min_size=1, max_size=3),
    spelled=st.lists(st.sampled_from([*SPELLINGS, "base64", "words"]), max_size=4),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
@example(["abcdabcd", "abcdabcdx\\"], ["plain", "plain", "repr"], [8, 9, 16, 17])
def test_a_stream_hides_what_the_whole_text_would(
    secrets: list[str], spelled: list[str], cuts: list[int]
) -> None:
    def spell(number: int, name: str) -> str:
        secret = secrets[number % len(secrets)]
        if name == "base64":
            return base64.encodebytes(b"u:" + secret.encode()).decode()
        return SPELLINGS[name](secret) if name in SPELLINGS else secret[:5] + "\nwords \\ %2"

    text = "".join(spell(number, name) for number, name in enumerate(spelled))
    stream = RedactedStream(secrets)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(places)]
    shown = "".join(map(stream.feed, pieces)) + stream.end()
    assert shown == redact(text, secrets)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("secret", ["key Ã of two bytes", "C:\\é\\keys", "50%off and\\", "Ã\x83Ã"])
def test_a_stream_may_be_cut_anywhere(spelling: str, secret: str) -> None:
    text = SPELLINGS[spelling](secret)
    for cut in range(1, len(text)):
        stream = RedactedStream([secret])
        shown = stream.feed(f"«{text[:cut]}") + stream.feed(f"{text[cut:]}»") + stream.end()
        assert shown == "«***»"


def test_a_line_that_hides_nothing_is_shown_at_once() -> None:
    stream = RedactedStream(["sk-proj-0123456789", "pa/ss%word"])
    for line in ("INFO all is well\n", "sk-proj-9\n", "100 %\n", "s\n", "C:\\n\n"):
        assert stream.feed(line) == line
    assert stream.feed("key sk-pro") == "key "
    assert stream.feed("j-0123456789 and sk") == "*** and "
    assert stream.end() == "sk"


def test_a_tail_has_no_part_of_a_secret() -> None:
    secret = "pa/ss word/" * 3
    text = quote(secret, safe="")[10:] + "x" * 2_000
    assert tail(text, [secret], 3_000, cut=True) == "x" * len(tail(text, [secret], 3_000, cut=True))
    assert tail("abc " + repr(secret), [secret], 5) == "'***'"
