"""`phoundry flow test PATH --inputs … [-o json]`, the call that people and tools make many times,
without what the other commands need: Typer, pydantic, the client. Anything else is left to them."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_VALUE = re.compile(r"^[\w.-]+=")
_VARIABLES = ("PHOUNDRY_FLOW_", "_PHOUNDRY_")  # an option may stand in the environment, too


def quick(words: Sequence[str]) -> int | None:
    """Run `phoundry flow test` with `words` after it; the exit code. None: not a call for this
    file, and nothing has happened."""
    if any(name.startswith(_VARIABLES) for name in os.environ):
        return None
    call = _read(words)
    if call is None:
        return None
    from phoundry.flows.session.alone import run_alone
    from phoundry.settings import Settings

    path, inputs, as_json = call
    recorded: list[tuple[list[dict[str, Any]], str]] = []

    def keep(spans: list[dict[str, Any]], folder: str) -> None:
        recorded.append((spans, folder))

    try:
        ran = run_alone(path, inputs, keep=keep if Settings().tracing else None)
    except KeyboardInterrupt:
        return 130
    if ran is None:
        return None
    result, log = ran
    if as_json:
        _print(result)
    else:
        _show(result, log)
    _keep(recorded)  # who waits for the answer does not wait for this
    return 1 if result["status"] == "Failed" else 0


def _keep(recorded: list[tuple[list[dict[str, Any]], str]]) -> None:
    from phoundry.settings import Home
    from phoundry.traces.record import recorder

    keeping = recorder(Home.current()) if recorded else None
    for spans, folder in recorded:
        if keeping is not None:
            keeping.put(spans, folder)


def _print(result: dict[str, Any]) -> None:
    from phoundry.cli.escaping import escaped

    names = ("status", "output", "nodes", "metrics", "error")
    document = {name: result[name] for name in names}
    sys.stdout.write(escaped(json.dumps(document, ensure_ascii=False, indent=2)) + "\n")
    sys.stdout.flush()


def _show(result: dict[str, Any], log: str) -> None:
    from phoundry.cli.escaping import visible
    from phoundry.cli.flow_result import in_words

    for text, narration in in_words(result, log):
        stream = sys.stderr if narration else sys.stdout
        stream.write(visible(text) + "\n")
        stream.flush()  # the two streams may be one terminal


def _read(words: Sequence[str]) -> tuple[Path, dict[str, Any], bool] | None:
    """The flow, its inputs, and whether -o json stands there; None where `words` are more."""
    rest = list(words)
    path: Path | None = None
    inputs: dict[str, Any] = {}
    asked = False
    while rest:
        word = rest.pop(0)
        if word in ("-o", "--output") and rest[:1] == ["json"] and not asked:
            asked, rest = True, rest[1:]
        elif word == "--inputs" and rest:
            more = True  # the word after the option is its value, whatever it looks like
            while rest and (more or _VALUE.match(rest[0])):
                values, more = _values(rest.pop(0)), False
                if values is None:
                    return None
                inputs |= values
        elif not word.startswith("-") and path is None:
            path = Path(word)
        else:
            return None
    return (path, inputs, asked) if path is not None else None


def _values(word: str) -> dict[str, Any] | None:
    """The inputs of one `name=value`, or of a file with a JSON object."""
    name, equals, value = word.partition("=")
    if equals:
        return {name: value} if _VALUE.match(word) else None
    if not word.endswith(".json"):
        return None
    try:
        found: Any = json.loads(Path(word).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None  # the long way says what is wrong with it
    return found if isinstance(found, dict) else None  # pyright: ignore[reportUnknownVariableType]
