"""Secrets that are written in a flow's own files, or given beside it.

They belong into connections, and people write them into a prompty's `configuration` all the same.
A server that refuses a key likes to quote it; so they are hidden like those of connections.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from phoundry.errors import PhoundryError
from phoundry.flows.document import PROMPTY, is_list, is_mapping, read_document

MOST_FILES = 50
SHORTEST = 4  # characters; of names that only may mean a secret, `SHORTEST_KEY`
SHORTEST_KEY = 16
_SURE = re.compile(r"api_?key|secret|passw(or)?d|authorization|credential|connection_?string", re.I)
_MAYBE = re.compile(r"(^|_)(key|token)$", re.I)
_ANY = re.compile(rf"{_SURE.pattern}|key\b|token\b", re.I)  # whether a file is worth parsing
_ENVIRONMENT = re.compile(r"\$\{env:(\w+)(?::-(?P<default>[^{}]*))?\}")
_SCHEME = re.compile(r"^(?:bearer|basic|token|api-?key)\s+", re.I)


def written_secrets(file: Path, *given: Mapping[str, Any] | None) -> set[str]:
    """The secrets in the flow `file`, in prompties and flows beside it, and in `given`: values of
    names such as `api_key`. `${env:NAME}` counts as the variable's value. Files that can't be read
    have none: what is wrong with them is told by whoever loads them."""
    found = set(chain.from_iterable(_of(item or {}) for item in given))
    for path in _files(file):
        found.update(_in_file(path))
    return found


def names_of_secrets(given: Mapping[str, Any]) -> list[str]:
    """The names in `given` whose values are secrets, as far as names tell."""
    return [name for name, item in given.items() if any(_of({name: item}))]


def _files(file: Path) -> Iterator[Path]:
    root = file.parent
    patterns = (f"*{PROMPTY}", f"*/*{PROMPTY}", "*/flow.*.y*ml")
    beside = chain.from_iterable(root.glob(pattern) for pattern in patterns)
    yield file
    yield from islice((path for path in beside if path != file), MOST_FILES)


def _in_file(path: Path) -> Iterator[str]:
    try:
        if not _ANY.search(path.read_text(encoding="utf-8")):
            return
        if path.suffix == PROMPTY:
            from phoundry.flows.prompty.definition import read_prompty
            from phoundry.flows.prompty.references import resolve

            data: Any = resolve(read_prompty(path)[0].data, path.parent)
        else:
            data = read_document(path).data
    except (PhoundryError, OSError, UnicodeDecodeError):
        return
    yield from _of(data)


def _of(data: Any, name: str = "") -> Iterator[str]:
    if is_mapping(data):
        for key, item in data.items():
            # `api_key: {type: string, default: …}` of an input
            under = name if key == "default" else str(key)
            yield from _of(item, under)
    elif is_list(data):
        for item in data:
            yield from _of(item, name)
    elif isinstance(data, str) and (least := _least(name)):
        text = _SCHEME.sub("", _filled(data.strip()))
        if len(text) >= least and "${" not in text and (least == SHORTEST or _random(text)):
            yield text


def _least(name: str) -> int:
    """How long a value of this name must be to count as a secret; 0: no value of it does."""
    plain = name.replace("-", "_")
    return SHORTEST if _SURE.search(plain) else SHORTEST_KEY if _MAYBE.search(plain) else 0


def _random(text: str) -> bool:
    """Whether it looks like a key and not like words: `sort_key: line_number` is no secret."""
    return not any(map(str.isspace, text)) and any(map(str.isdigit, text))


def _filled(text: str) -> str:
    return _ENVIRONMENT.sub(lambda it: os.environ.get(it[1], it["default"] or it[0]), text)
