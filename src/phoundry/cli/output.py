"""What is printed where: data on standard output, everything else on standard error.

With `-o json` or `-o yaml` standard output holds exactly one document and standard error stays
silent, except for an error, which is one JSON document `{"error": {"code", "message", …}}`.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer

from phoundry.cli.screen import echo, escaped
from phoundry.cli.sheet import cell, duration, moment, sheet, table
from phoundry.errors import PhoundryError

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "Format",
    "Output",
    "Printer",
    "cell",
    "chosen_format",
    "duration",
    "moment",
    "program",
    "report",
    "sheet",
    "table",
]

T = TypeVar("T")


class Format(StrEnum):
    table = "table"
    json = "json"
    yaml = "yaml"


Output = Annotated[
    Format, typer.Option("--output", "-o", help="How to print the result.", show_choices=True)
]


class Printer:
    """Prints one command's results and narration in the chosen format."""

    def __init__(self, chosen: Format) -> None:
        self.format = chosen

    @property
    def talks(self) -> bool:
        """Whether narration is wanted."""
        return self.format is Format.table

    def note(self, text: str) -> None:
        """Narration, on standard error."""
        if self.talks:
            echo(text, err=True)

    def suggest(self, *commands: str) -> None:
        """What the user probably does next."""
        typed = [
            f"{program()} {words.removeprefix('phoundry ')}"
            if words.startswith("phoundry ")
            else words
            for words in commands
        ]
        if typed:
            self.note("Next: " + "\n      ".join(typed))

    def value(self, value: Any, text: str | None = None) -> None:
        """Plain data; as a table, `text` or `name  value` lines."""
        if self.format is Format.json:
            typer.echo(escaped(json.dumps(value, ensure_ascii=False, indent=2)))
        elif self.format is Format.yaml:
            from phoundry.specs.yaml import dump

            typer.echo(dump(value), nl=False)
        else:
            echo(sheet(value) if text is None else text)

    def one(self, view: BaseModel) -> None:
        """One resource with all its fields."""
        self.value(view.model_dump(mode="json"))

    def many(
        self, views: Sequence[T], columns: Mapping[str, Callable[[T], Any]], empty: str
    ) -> None:
        """Resources, a line each; `empty` says (on standard error) what to do about none."""
        if self.format is not Format.table:
            self.value([cast("BaseModel", view).model_dump(mode="json") for view in views])
        elif views:
            rows = [[cell(read(view)) for read in columns.values()] for view in views]
            echo(table(list(columns), rows))
        else:
            self.note(empty)


def program() -> str:
    """This program as the user can type it: its name, or its path where the name is not found."""
    called = Path(sys.argv[0])
    if called.name != "phoundry" or shutil.which("phoundry"):
        return "phoundry"
    absolute = called.absolute()
    here = Path.cwd()
    return shlex.quote(
        str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)
    )


def chosen_format(words: Sequence[str]) -> Format:
    """The format that a command line asks for, read before it is parsed (it may not parse)."""
    for index, word in enumerate(words):
        if word == "--":
            break
        if word in ("-o", "--output"):
            value = "".join(words[index + 1 : index + 2])
        elif word.startswith("--output="):
            value = word.removeprefix("--output=")
        else:
            value = word[2:] if word.startswith("-o") else ""
        if value in Format.__members__:
            return Format[value]
    return Format.table


def report(error: PhoundryError | typer.TyperException, chosen: Format) -> None:
    """Print an expected failure once, on standard error."""
    if chosen is not Format.table:
        body = (
            error.to_dict()
            if isinstance(error, PhoundryError)
            else {"code": "UsageError", "message": error.format_message()}
        )
        document = json.dumps({"error": body}, ensure_ascii=False, indent=2)
        typer.echo(escaped(document), err=True)
    elif isinstance(error, PhoundryError):
        echo(f"Error: {error}", err=True)
    else:
        cast("Any", error).show()  # click's own: usage line, hint, message
