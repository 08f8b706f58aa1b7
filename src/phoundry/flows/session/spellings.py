"""The ways in which a secret may stand in a text: as it is, escaped as Python and JSON write texts,
quoted as in an address, and within something in base64 (`Authorization: Basic …`).

A spelling is a list of tokens, regular expressions of one character each: joined they find it, and
one after the other they tell whether a text ends within it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache

ENCODED_FROM = 8  # characters; less in base64 looks like the beginning of many a word
LINE_FROM = 16  # characters of a line of a secret (a PEM file) that is hidden by itself
_WINDOW = 8
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]+")  # nothing writes these otherwise
_LONGEST_TOKEN = 40  # characters: 8 backslashes, 4 bytes of UTF-8 that were quoted three times
_SHORT = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
# What may be the beginning of an escape, or of a line's end, at the end of a text.
_HALF = re.compile(r"(?:\\{1,8}[uUx]?[\da-fA-F]*|%[\da-fA-F]*)+|\r")
# Base64 comes in lines, too, and these may be escaped.
_BREAK = r"(?:\r?\n|\\{1,4}[rn]){0,2}"
_SIXTY_FOUR = {"+": r"(?:[+-]|%2[Bb])", "/": r"(?:[/_]|%2[Ff])"}


class Spelled:
    """One secret and its spellings; in base64, too, where `encoded`."""

    def __init__(self, secret: str, *, encoded: bool = True) -> None:
        self.secret = secret
        self._encoded = encoded and len(secret) >= ENCODED_FROM

    @cached_property
    def spellings(self) -> list[list[str]]:
        found = [[_token(run) for run in re.findall(r"\\+|[^\\]", self.secret)]]
        return found + [
            [_SIXTY_FOUR.get(one, one) + _BREAK for one in text] for text in self._in_base64
        ]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds every spelling. Made when `anchors` say that one may be there."""
        plain, *encoded = map("".join, self.spellings)
        # Of base64 the last character may be shared with what follows the secret.
        return re.compile("|".join([plain, *(f"{each}(?:[\\w+/-]=*)?" for each in encoded)]))

    @cached_property
    def anchors(self) -> list[str]:
        """Texts of which one at least is in every text with a spelling."""
        found = [max(_PLAIN.findall(self.secret), key=len, default="")]
        for text in self._in_base64:
            third = -(-len(text) // 3)  # a line may end in one of them, and not in all
            parts = [text[at : at + third] for at in range(0, len(text), third)]
            runs = [max(re.split(r"[+/]", part), key=len)[:_WINDOW] for part in parts]
            found += [run for run in runs if len(run) > 2] or [""]
        return found

    @cached_property
    def longest(self) -> int:
        """Characters of its longest spelling, about; of base64 in lines of four or more."""
        plain = sum(map(len, _PLAIN.findall(self.secret)))
        written = plain + _LONGEST_TOKEN * (len(self.secret) - plain)
        return max(written, *(4 * len(text) for text in self._in_base64), 0)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where it begins and ends in `text`."""
        if not any(anchor in text for anchor in self.anchors):
            return []
        return [found.span() for found in self.pattern.finditer(text)]

    def hide(self, text: str, hidden: str) -> str:
        if any(anchor in text for anchor in self.anchors):
            return self.pattern.sub(hidden, text)
        return text

    def begins(self, text: str, start: int) -> bool:
        """Whether `text` from `start` on may be a spelling's beginning, or one that goes on."""
        return any(_reaches_end(tokens, text, start) for tokens in self.spellings)

    @cached_property
    def _in_base64(self) -> list[str]:
        """What of it is the same whatever surrounds it, for each of its three positions."""
        data = self.secret.encode(errors="surrogatepass")
        if not self._encoded:
            return []
        found: list[str] = []
        for before in range(3):
            text = binascii.b2a_base64(b"\0" * before + data, newline=False).decode()
            found.append(text[-(-before * 8 // 6) : (before + len(data)) * 8 // 6])
        return found


def starts(spelled: Iterable[Spelled]) -> re.Pattern[str]:
    """Where a spelling, or the half of an escape, may begin."""
    first = {tokens[0] for each in spelled for tokens in each.spellings if tokens}
    return re.compile(f"(?=[\\\\%]|{'|'.join(sorted(first))})" if first else "(?!)")


@lru_cache(maxsize=512)
def _token(run: str) -> str:
    """The spellings of a character, or of a run of backslashes, which are doubled when escaped."""
    if run.startswith("\\"):
        quoted = f"(?:%(?:25){{0,2}}5[Cc]){{{len(run)}}}"
        return f"(?:\\\\{{{len(run)},{8 * len(run)}}}|{quoted})"
    if _PLAIN.fullmatch(run):
        return re.escape(run)
    number = ord(run)
    # Longer ones first: `%25` is a whole `%`, and `\\xc3\\x83` a whole `Ã`, whose number is 0xc3.
    forms = [_quoted(run)]
    if number > 127:
        forms.append("".join(f"\\\\{{1,8}}x{_hex(byte, 2)}" for byte in _bytes(run)))
    forms.append("\\\\{0,8}" + re.escape(run))
    escapes = [_SHORT[run]] if run in _SHORT else []
    escapes += [f"U{_hex(number, 8)}", *([f"x{_hex(number, 2)}"] if number < 256 else [])]
    forms += [f"\\\\{{1,8}}(?:{'|'.join(escapes)})"]
    units = [run] if number < 0x10000 else _pair(number)
    forms.append("".join(f"\\\\{{1,8}}u{_hex(ord(unit), 4)}" for unit in units))
    return f"(?:{'|'.join(forms)}{'|[+]' if run == ' ' else ''})"


def _bytes(one: str) -> bytes:
    return one.encode(errors="surrogatepass")


def _pair(number: int) -> list[str]:
    high, low = divmod(number - 0x10000, 0x400)
    return [chr(0xD800 + high), chr(0xDC00 + low)]


def _quoted(one: str) -> str:
    return "".join(f"%(?:25){{0,2}}{_hex(byte, 2)}" for byte in _bytes(one))


def _hex(number: int, digits: int) -> str:
    text = f"{number:0{digits}x}"
    return "".join(f"[{one}{one.upper()}]" if one.isalpha() else one for one in text)


def _reaches_end(tokens: list[str], text: str, start: int) -> bool:
    places = {start}
    for token in tokens:
        if any(_is_open(text, place) for place in places):
            return True
        places = {end for place in places for end in _ends(token, text, place)}
    return len(text) in places  # it may be longer: a run of backslashes, another secret


def _is_open(text: str, place: int) -> bool:
    """Whether `text` ends at `place`, or in the middle of an escape that begins there."""
    left = len(text) - place
    return left == 0 or (left < _LONGEST_TOKEN and bool(_HALF.fullmatch(text, place)))


def _ends(token: str, text: str, place: int) -> Iterator[int]:
    """Where `token` may end: of a run of backslashes, the last may belong to what follows."""
    limit = len(text)
    while found := _compiled(token).match(text, place, limit):
        yield found.end()
        limit = found.end() - 1


@lru_cache(maxsize=512)
def _compiled(token: str) -> re.Pattern[str]:
    return re.compile(token)
