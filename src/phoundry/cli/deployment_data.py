"""`phoundry deployment data`: what a deployment was asked and answered."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.arguments import deployment_reference
from phoundry.cli.output import Format, Output, Printer, moment
from phoundry.cli.screen import echo
from phoundry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phoundry.specs.collection import Exchange

EXAMPLE = (
    "phoundry deployment data faq/blue --since 2h\n"
    "phoundry deployment data faq/blue --rows > asked.jsonl\n"
    "phoundry data create faq-next asked.jsonl"
)
_AGO = re.compile(r"(\d+)\s*([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def data(
    name: Annotated[str, typer.Argument(help="NAME, or ENDPOINT/NAME.")],
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", "--endpoint-name", "-e", help="Its endpoint.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="So long ago (30m, 2h, 7d), or from a date on.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Also what comes.")] = False,
    rows: Annotated[
        bool, typer.Option("--rows", help="As training data, for `phoundry data create`.")
    ] = False,
    output: Output = Format.table,
) -> None:
    """Print what a deployment was asked and answered, oldest first.

    Only a deployment whose `data_collector` says so keeps anything. With --rows each whole
    conversation is a line of JSON, the answer as its last message.
    """
    from phoundry.client import Client

    if follow and output is not Format.table:
        raise UsageError("--follow prints as it comes, which -o cannot: leave one of them out.")
    where, what = deployment_reference(name, endpoint)
    start = moment_of(since) if since else None
    found = Client().collected.follow(where, what, since=start, forever=follow)
    if rows:
        _print_rows(found, Printer(output))
    elif output is Format.table:
        for each in found:
            echo("\n".join(lines(each)) + "\n")
    else:
        Printer(output).value([each.model_dump(mode="json") for each in found])


def moment_of(text: str, now: datetime | None = None) -> datetime:
    """`2h` before `now`, or the date and time that `text` is (local unless it says otherwise).

    Raises:
        UsageError: it is neither.
    """
    if match := _AGO.fullmatch(text.strip()):
        return (now or datetime.now(UTC)) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except ValueError:
        raise UsageError(
            f"--since got '{text}', which is no time.",
            remedy="Write how long ago (30m, 2h, 7d), or a date such as 2026-11-23T08:00.",
        ) from None


def lines(exchange: Exchange) -> list[str]:
    """When, which request, what was said and answered."""
    head = f"{moment(exchange.time.isoformat())}  {exchange.id}  {exchange.model}".rstrip()
    row = exchange.conversation()
    if row is None:
        sides = {"asked": exchange.request, "answered": exchange.answer}
        return [head, *(f"  {key}: {_short(value)}" for key, value in sides.items() if value)]
    return [head, *(f"  {turn['role']}: {_said(turn)}" for turn in row["messages"])]


def _print_rows(found: Iterable[Exchange], out: Printer) -> None:
    left_out = 0
    for each in found:
        row = each.conversation()
        if row is None:
            left_out += 1
        else:
            typer.echo(json.dumps(row, ensure_ascii=False))
    if left_out:
        out.note(f"{left_out:,} exchanges are no whole conversations and were left out.")


def _said(turn: dict[str, Any]) -> str:
    content = turn.get("content")
    return content if isinstance(content, str) and content else _short(turn)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 500 else text[:499] + "…"
