"""Writes the reference: `python -m phoundry.cli.reference > docs/reference/cli.md`"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from phoundry.cli.app import SECTIONS, root

WIDTH = 88
INTRODUCTION = """# Commands

Written by `python -m phoundry.cli.reference > docs/reference/cli.md`; a test compares.

- Data goes to standard output, everything else to standard error. `-o json` and `-o yaml` print
  exactly one document and no narration.
- Exit codes: 0 done; 1 failed; 2 the call itself is wrong; 130 interrupted.
- An expected failure is printed once, on standard error: what was found, the limit, the remedy.
  With `-o json` or `-o yaml` it is one JSON document there,
  `{"error": {"code", "message", "remedy"?, "faults"?}}`.
- An option that can be repeated also takes several values: `--set a=1 b=2`.
- A NAME may also be given as `-n NAME` or `--name NAME`.
- Every option may stand in the environment, as `PHOUNDRY_<COMMAND>_<OPTION>`, such as
  `PHOUNDRY_UP_PORT` or `PHOUNDRY_DATA_CREATE_SEED`; the command line wins.
- `NO_COLOR` and `FORCE_COLOR` are respected. `PHOUNDRY_HOME`, `PHOUNDRY_URL` and `PHOUNDRY_TOKEN`
  choose where the commands go; `phoundry config show` lists every setting.
"""


def reference() -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    command = root()
    top = command.context_class(command, info_name="phoundry", terminal_width=WIDTH)
    for section, commands in SECTIONS.items():
        lines.append(f"## {section}\n")
        for name in commands:
            for title, text in pages(top, command.get_command(top, name), name):
                lines.append(f"### {title}\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(lines)


def pages(parent: Any, command: Any, name: str) -> Iterator[tuple[str, str]]:
    """Title and help text of a command and of those under it."""
    context = command.context_class(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH
    )
    yield context.command_path, command.get_help(context)
    for verb, under in getattr(command, "commands", {}).items():
        yield from pages(context, under, verb)


if __name__ == "__main__":
    sys.stdout.write(reference())
