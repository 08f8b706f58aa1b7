"""`phoundry pf`: Prompt flow's own command lines, so that `alias pf='phoundry pf'` keeps scripts
alive. `grammar` reads them, `flows`, `runs`, `connections` and `settings` do what they ask."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

from phoundry.cli.commands import PLAIN, example_text

app = typer.Typer(**PLAIN)
EXAMPLE = (
    "alias pf='phoundry pf'\n"
    "pf flow test --flow my-flow --inputs question=Hi\n"
    "pf run create --flow my-flow --data data.jsonl --stream\n"
    "pf flow test --help"
)


class Words(TyperCommand):
    """A command that leaves its words as they are: another parser reads them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return []

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["NOUN VERB [OPTIONS]"]


@app.command("pf", cls=Words, epilog=example_text(EXAMPLE))
def pf(context: typer.Context) -> None:
    """Accept Prompt flow's own command lines.

    The nouns are flow, run, connection, config, tool, trace, service and upgrade, with the options
    of Prompt flow 1.18. What means nothing here is taken and told on standard error; what can't be
    done says what to do instead.
    """
    from phoundry.cli.pf.grammar import run

    if code := run(context.args):
        raise typer.Exit(code)
