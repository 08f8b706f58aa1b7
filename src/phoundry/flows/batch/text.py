"""JSON as a run's files have it: UTF-8, one value a line, also with text that is no Unicode."""

from __future__ import annotations

import json
from typing import Any

# A tool may return half a surrogate pair; it is kept as it is.
LENIENT = "surrogatepass"

# What is written was JSON before, so no value can hold itself.
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
_decode = json.JSONDecoder().decode


def line_of(value: Any) -> bytes:
    """`value` as one line, with its end."""
    return _encode(value).encode("utf-8", LENIENT) + b"\n"


def value_of(line: bytes) -> Any:
    """The value of a line that `line_of` wrote.

    Raises:
        ValueError: it is none.
    """
    return _decode(line.decode("utf-8", LENIENT))
