"""Inputs of a flow as they stand on a command line: `name=value` words and files of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from phoundry.cli.arguments import assignments
from phoundry.errors import InvalidInput, NotFound, UsageError

FILES = (".json", ".jsonl")


def read_inputs(words: list[str], option: str = "--inputs") -> dict[str, Any]:
    """Inputs of `name=value` words and JSON files; a later one wins.

    Of a `.jsonl` file it is the first line. A value stays the text that it is: the flow's own types
    say what becomes of it (`[1, 2]` for a list, `{"a": 1}` for an object, `3` for an int).

    Raises:
        UsageError: a word that is neither.
        NotFound, InvalidInput: a file that is missing or holds no JSON object.
    """
    values: dict[str, Any] = {}
    for word in words:
        if word.endswith(FILES) and "=" not in word:
            values |= read_object(Path(word), option)
        else:
            values |= assignments([word], option)
    return values


def read_object(path: Path, option: str = "--inputs") -> dict[str, Any]:
    """The one JSON object in `path`, or the first line's of a `.jsonl` file.

    Raises:
        NotFound, InvalidInput, UsageError: it is missing, no object, or a folder.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", remedy=f"{option} names it.") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, not a file for {option}.") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 (byte {error.start}).") from None
    except (OSError, ValueError) as error:  # not ours to read, or no name that a file can have
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"{str(path)[:200]} can't be read: {reason}.") from None
    if path.suffix == ".jsonl":
        text = next((line for line in text.splitlines() if line.strip()), "")
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{path} holds no JSON object.", remedy='Write {"name": value, …}.')
    return {str(key): item for key, item in cast("dict[Any, Any]", value).items()}
