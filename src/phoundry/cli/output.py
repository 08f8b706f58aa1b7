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
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer

from phoundry.cli.screen import echo, escaped
from phoundry.errors import PhoundryError

if TYPE_CHECKING:
    from pydantic import BaseModel

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


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two spaces apart, under titles in capitals."""
    lines = [[title.upper() for title in titles], *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(titles))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def sheet(fields: Mapping[str, Any]) -> str:
    """A resource as `name  value` lines; empty fields are left out, events come last."""
    shown = {key: value for key, value in fields.items() if value not in (None, "", [], {})}
    events: list[dict[str, Any]] = shown.pop("events", [])
    width = max((len(key) for key in shown), default=0)
    lines: list[str] = []
    for key, value in shown.items():
        first, *rest = _lines(value)
        lines.append(f"{key.ljust(width)}  {first}")
        lines += [" " * (width + 2) + line for line in rest]
    if events:
        lines.append("events")
        lines += [f"  {moment(e['time'])}  {e['kind']}  {e['message']}".rstrip() for e in events]
    return "\n".join(lines)


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return [f"{key} = {cell(item)}" for key, item in items if item is not None] or [""]
    if isinstance(value, list):
        return [cell(item) for item in cast("list[Any]", value)]
    return cell(value).splitlines() or [""]


def cell(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return moment(value.isoformat())
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False)
    text = str(value)
    return moment(text) if _is_moment(text) else text


def moment(text: str) -> str:
    """An ISO time as local date, hour, minute and second."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _is_moment(text: str) -> bool:
    return len(text) >= 19 and text[4:5] == "-" and text[10:11] == "T" and text[13:14] == ":"


def duration(seconds: float) -> str:
    """`45 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


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
