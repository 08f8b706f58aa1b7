"""Where secret values come from: a hidden prompt, standard input, the environment."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping, Sequence

from phoundry.errors import UsageError

ASK = "<user-input>"  # Prompt flow's placeholder
KEEP = ("<no-change>", "***")


def secret_values(words: Sequence[str], *, from_stdin: bool) -> dict[str, str]:
    """The values of the secrets that `--secret` names.

    Args:
        words: `name` or `name=env:VARIABLE` each.
        from_stdin: read `name=value` lines, or the one value of the one name that has none.

    Raises:
        UsageError: a value on the command line, an unset variable, no way to ask.
    """
    values: dict[str, str] = {}
    unset: list[str] = []
    for word in words:
        name, equals, source = word.partition("=")
        if not equals:
            unset.append(name)
        elif source.startswith("env:"):
            values[name] = _from_environment(name, source.removeprefix("env:"))
        else:
            raise UsageError(
                f"--secret {name}=… has its value on the command line, where every user of this "
                "machine can read it and the shell's history keeps it.",
                remedy=f"Write --secret {name} (it is asked for), --secret {name}=env:VARIABLE, "
                "or --secret-stdin.",
            )
    if from_stdin:
        values |= _from_stdin(sys.stdin.read(), unset)
        unset = [name for name in unset if name not in values]
        if unset:
            raise UsageError(f"Standard input has no value for {', '.join(unset)}.")
    return values | {name: ask(name) for name in unset}


def ask_placeholders(secrets: Mapping[str, str]) -> dict[str, str]:
    """`secrets` with every `<user-input>` asked for, and without those that stay as they are."""
    kept = {name: value for name, value in secrets.items() if value not in KEEP}
    return {name: ask(name) if value == ASK else value for name, value in kept.items()}


def ask(name: str) -> str:
    """A secret typed at a prompt that does not show it."""
    if not sys.stdin.isatty():
        raise UsageError(
            f"The secret '{name}' cannot be asked for: standard input is no terminal.",
            remedy=f"Add --secret-stdin and pipe it in, or write --secret {name}=env:VARIABLE.",
        )
    value = getpass.getpass(f"{name}: ")
    if not value:
        raise UsageError(f"The secret '{name}' is empty.")
    return value


def _from_environment(name: str, variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise UsageError(f"The variable {variable}, named for the secret '{name}', is not set.")
    return value


def _from_stdin(text: str, unset: Sequence[str]) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(unset) == 1 and len(lines) == 1 and not lines[0].startswith(f"{unset[0]}="):
        return {unset[0]: lines[0].strip()}
    values: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        name, equals, value = line.partition("=")
        if not equals:
            raise UsageError(f"Line {number} of standard input is not of the form name=value.")
        values[name.strip()] = value.strip()
    return values
