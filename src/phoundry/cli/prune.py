"""`phoundry prune`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phoundry.cli.arguments import confirm
from phoundry.cli.commands import alone
from phoundry.cli.output import Format, Output, Printer, table
from phoundry.cli.screen import echo
from phoundry.files import in_words

if TYPE_CHECKING:
    from phoundry.specs.care import Prunable, Pruning


@alone(example="phoundry prune --dry-run\nphoundry prune --all -y")
def prune(
    everything: Annotated[
        bool, typer.Option("--all", help="Also what can be made again, in time.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    output: Output = Format.table,
) -> None:
    """Free the disk space of what can be made again.

    Without --all only of what nothing uses any more: data of deleted assets, checkpoints of
    completed jobs, uploads and downloads that were left over, old events, long logs. With --all
    also of base models, conversions, tokens, downloads and packages installed for flows that
    nothing serves or waits for: the next command that needs one makes or fetches it again. What
    is in use is never touched.
    """
    from phoundry.client import Client

    out, client = Printer(output), Client()
    found = client.prune_plan(everything=everything)
    if dry_run or not found.items:
        _show(out, found)
        if not found.items:
            more = "" if everything else " (`--all` looks for what can be made again, too)"
            out.note(f"There is nothing to remove{more}.")
        return
    if not yes:
        for line in _lines(found.items):
            echo(line, err=True)
    confirm(f"Remove this, {in_words(found.bytes)}?", yes=yes)
    done = client.prune(everything=everything)
    _show(out, done)
    out.note(f"{in_words(done.bytes)} are free again.")
    for notice in done.notices:
        out.note(f"Note: {notice}")


def _show(out: Printer, found: Pruning) -> None:
    if not out.talks:
        out.one(found)
    elif found.items:
        for line in _lines(found.items):
            echo(line)
        if not found.removed:
            echo(f"{in_words(found.bytes)} in all; nothing was removed (--dry-run).")


def _lines(items: list[Prunable]) -> list[str]:
    rows = [
        [each.kind, each.name, in_words(each.bytes), each.why + (" (made again)" * each.again)]
        for each in sorted(items, key=lambda each: -each.bytes)
    ]
    return table(["what", "name", "frees", "why"], rows).splitlines()
