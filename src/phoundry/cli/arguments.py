"""Reading what stands on a command line: `k=v` words, traffic, references, questions."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from phoundry.errors import UsageError


def assignments(words: Sequence[str] | None, option: str) -> dict[str, str]:
    """`{"k": "v"}` of `k=v` words. Raises UsageError for a word of another form."""
    values: dict[str, str] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(
                f"{option} got '{word}', which is not of the form name=value.",
                remedy=f"Write {option} name=value, as often as needed.",
            )
        values[name] = value
    return values


def placed(document: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """`document` with each `a.b=value` at its dotted place; `[…]` and `{…}` are read as JSON."""
    result = {**document}
    for name, text in values.items():
        *parts, last = name.split(".")
        target = result
        for part in parts:
            inner: Any = target.get(part)
            target[part] = {**inner} if isinstance(inner, dict) else {}
            target = target[part]
        target[last] = _value(text)
    return result


def _value(text: str) -> Any:
    if text[:1] not in ("[", "{"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def traffic(words: Sequence[str], option: str = "--traffic") -> dict[str, int]:
    """`{"blue": 90, "green": 10}` of `blue=90,green=10` or `blue=90 green=10`.

    Raises:
        UsageError: another form, or no share at all: an empty shell variable takes nothing away.
    """
    shares: dict[str, int] = {}
    pieces = [piece for word in words for piece in word.replace(",", " ").split()]
    for name, text in assignments(pieces, option).items():
        digits = text.removesuffix("%")
        if not re.fullmatch(r"-?[0-9]{1,9}", digits):
            raise UsageError(
                f"{option} gives '{name}' the share '{text}'.",
                remedy="A share is a whole number of percent, such as blue=90,green=10.",
            )
        shares[name] = int(digits)
    if not shares:
        raise UsageError(
            f"{option} names no deployment.",
            remedy=f"Write {option} blue=90,green=10; {option} blue=0 takes its share away.",
        )
    return shares


def deployment_reference(name: str, endpoint: str | None) -> tuple[str, str]:
    """Endpoint and deployment of `ENDPOINT/NAME`, or of `NAME --endpoint ENDPOINT`."""
    before, slash, after = name.partition("/")
    if slash and endpoint and before != endpoint:
        raise UsageError(f"'{name}' names another endpoint than --endpoint {endpoint}.")
    if slash:
        return before, after
    if not endpoint:
        raise UsageError(
            f"The endpoint of the deployment '{name}' is not named.",
            remedy=f"Write ENDPOINT/{name}, or add --endpoint ENDPOINT.",
        )
    return endpoint, name


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if the user agrees. Raises UsageError where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("This needs to be confirmed.", remedy="Add -y to go ahead unasked.")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)
