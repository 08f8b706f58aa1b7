"""Setting one value in a flow's file. Every other byte stays as it is: comments, order, quotes,
unknown keys, line ends.

The file is not written anew from data, which would lose most of that. The place of the value is
found in the parsed file and its text is replaced; the result is parsed again, and must hold what
was wanted and nothing else that is new.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from phoundry.errors import Conflict, NotFound, UsageError
from phoundry.files import write_atomic
from phoundry.flows.document import is_list, is_mapping, parse_document
from phoundry.flows.errors import FlowError, YamlError

PLAIN = re.compile(r"[A-Za-z_/$][\w ./{}$()+-]*[\w}/).]|[A-Za-z_]")
# Characters that YAML does not let stand in a quoted text, and json.dumps lets pass.
ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF)}


def edit_file(file: Path, changes: Sequence[tuple[str, Any]]) -> None:
    """Set each `(place, value)` in the flow's `file`; all of them or none.

    Raises:
        NotFound: a place leads through something that is not there.
        FlowError: the file is no YAML.
        UsageError: a place that names nothing.
        Conflict: the value can't be set without changing others.
    """
    file = file.resolve()  # a link stays one
    try:
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise YamlError(f"{file.name} is not UTF-8 at byte {error.start}.") from None
    for place, value in changes:
        text = set_value(text, place, value, file)
    write_atomic(file, text.encode("utf-8"), mode=file.stat().st_mode & 0o777)


def read_value(text: str) -> Any:
    """What `text` on a command line means: JSON where it is JSON (`0.2`, `true`, `[1]`), else
    itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def set_value(text: str, place: str, value: Any, file: Path = Path("flow.dag.yaml")) -> str:
    """`text`, a flow's YAML, with `value` at `place`, such as `nodes.ask.inputs.temperature`.

    An item of a list is named by its `name`, or counted from 0. Keys that are not there are made;
    items of lists are not.

    Raises: as `edit_file`.
    """
    parts = place.split(".")
    if not all(parts):
        raise UsageError(f"'{place}' names nothing.", remedy="Write nodes.NODE.inputs.NAME.")
    wanted = copy.deepcopy(parse_document(file, text).data)
    _put(wanted, parts, value)
    changed = _spliced(text, _compose(text), parts, value)
    if not _holds(file, changed, wanted):
        raise Conflict(
            f"'{place}' can't be set without changing other values of {file.name}.",
            remedy="It is shared by an anchor, or written in an unusual way: edit it by hand.",
        )
    return changed


def _holds(file: Path, text: str, wanted: Any) -> bool:
    try:
        return parse_document(file, text).data == wanted
    except FlowError:
        return False


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int


def _compose(text: str) -> Any:
    """The YAML nodes of `text`; their marks count characters."""
    from ruamel.yaml import YAML

    return YAML(typ="rt").compose(StringIO(text, newline=""))


def _put(data: Any, parts: Sequence[str], value: Any) -> None:
    """Set `value` in plain `data`; the nodes are walked in the same way."""
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if is_mapping(data):
            if last:
                data[part] = value
            elif data.get(part) is None:
                data[part] = {}
            data = data[part]
        elif is_list(data):
            names = [str(item.get("name")) if is_mapping(item) else None for item in data]
            index = _index(part, names, parts[: depth + 1])
            if last:
                data[index] = value
            data = data[index]
        elif not last or depth:
            raise NotFound(f"{'.'.join(parts[:depth])} is a single value, and has no '{part}'.")


def _index(part: str, names: Sequence[str | None], at: Sequence[str]) -> int:
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(names):
        return int(part)
    raise NotFound.named("item", ".".join(at), [f"{'.'.join(at[:-1])}.{name}" for name in names])


def _spliced(text: str, node: Any, parts: Sequence[str], value: Any) -> str:
    """`text` with the span of the value at `parts` replaced, or a new key put in."""
    key: Any = None
    for depth, part in enumerate(parts):
        kind = type(node).__name__
        if kind == "MappingNode":
            pair = next((pair for pair in node.value if pair[0].value == part), None)
            if pair is None:
                return _with_key(text, node, part, _nested(parts[depth + 1 :], value))
            key, node = pair
            if _empty(node):  # `inputs:` with nothing behind it
                return _after_key(text, key, _nested(parts[depth + 1 :], value))
        elif kind == "SequenceNode":
            names = [_name_of(item) for item in node.value]
            node = node.value[_index(part, names, parts[: depth + 1])]
    span = _span(text, node)
    return text[: span.start] + _written(value) + text[span.end :]


def _nested(parts: Sequence[str], value: Any) -> Any:
    for part in reversed(parts):
        value = {part: value}
    return value


def _after_key(text: str, key: Any, value: Any) -> str:
    at = text.index(":", key.end_mark.index) + 1
    return f"{text[:at]} {_written(value)}{text[at:]}"


def _with_key(text: str, node: Any, key: str, value: Any) -> str:
    line = f"{_written(key)}: {_written(value)}"
    if node.flow_style:
        end = node.end_mark.index - 1  # before the brace
        bare = text[:end].rstrip()
        comma = "" if bare.endswith("{") else " " if bare.endswith(",") else ", "
        return f"{bare}{comma}{line}{text[len(bare) : end].rstrip(' ')}{text[end:]}"
    end = _span(text, node).end
    rest = text.find("\n", end)
    at = len(text) if rest < 0 else rest
    if text[at - 1 : at] == "\r":
        at -= 1
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = " " * node.start_mark.column
    return f"{text[:at]}{newline}{indent}{line}{text[at:]}"


def _span(text: str, node: Any) -> _Span:
    """Where a value stands, without the blank lines and comments that a parser counts with it."""
    start, end = node.start_mark.index, node.end_mark.index
    if type(node).__name__ != "ScalarNode" and not node.flow_style and node.value:
        last: Any = node.value[-1]
        key, item = (last[0], last[1]) if type(node).__name__ == "MappingNode" else (None, last)
        if key is not None and _empty(item):
            return _Span(start, text.index(":", key.end_mark.index) + 1)
        end = _span(text, item).end
    while end > start and text[end - 1] in "\r\n":  # a block of text ends with its last line
        end -= 1
    return _Span(start, end)


def _empty(node: Any) -> bool:
    return type(node).__name__ == "ScalarNode" and node.start_mark.index == node.end_mark.index


def _name_of(node: Any) -> str | None:
    if type(node).__name__ != "MappingNode":
        return None
    return next((str(item.value) for key, item in node.value if key.value == "name"), None)


def _written(value: Any) -> str:
    """`value` on one line: plain text where it reads back as it is, else JSON, which is YAML."""
    if isinstance(value, str) and PLAIN.fullmatch(value) and _reads_back(value):
        return value
    return json.dumps(value, ensure_ascii=False).translate(ESCAPES)


def _reads_back(value: str) -> bool:
    from ruamel.yaml import YAML

    found = YAML(typ="safe", pure=True).load(f"[{value}]") if "{" not in value else None
    return found == [value] or (value.startswith("${") and value.endswith("}"))
