"""`phoundry flow env …`: the packages that were installed for flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phoundry.cli.arguments import confirm
from phoundry.cli.commands import noun, verb
from phoundry.cli.output import Format, Output, Printer, table
from phoundry.errors import Conflict, NotFound
from phoundry.files import in_words

if TYPE_CHECKING:
    from phoundry.flows.environments.use import Environment

app = noun("Packages that were installed for flows.")


def register(flows: typer.Typer) -> None:
    flows.add_typer(app, name="env")


@verb(app, "list", example="phoundry flow env list")
def list_(output: Output = Format.table) -> None:
    """List the environments of flows, the longest unused first.

    One is made when a flow's requirements.txt asks for packages that are not here, and shared by
    all flows that ask for the same. `phoundry prune --all` removes those that nothing runs in.
    """
    out, found = Printer(output), _environments()
    if not found and out.talks:
        out.note("No flow has asked for packages that are not here.")
        return
    rows = [
        [each.name, in_words(each.bytes), each.last_used, ", ".join(each.requirements)]
        for each in found
    ]
    document = [
        {
            "name": each.name,
            "bytes": each.bytes,
            "idle_seconds": round(each.idle),
            "packages": list(each.requirements),
            "path": str(each.place),
        }
        for each in found
    ]
    out.value(document, table(["name", "size", "last used", "packages"], rows))


@verb(app, "delete", example="phoundry flow env delete 3f9a61c0d2b47e85")
def delete(
    name: Annotated[str, typer.Argument(help="As `phoundry flow env list` has it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Remove an environment; the next run of a flow that needs it installs it again."""
    from phoundry.flows.environments.use import in_use, remove

    found = {each.name: each for each in _environments()}
    if name not in found:
        raise NotFound.named("flow environment", name, found)
    each = found[name]
    if in_use(each.place):
        raise Conflict(
            f"A flow runs in the environment '{name}' now.",
            remedy="Stop the flow first, or wait for it to end.",
        )
    confirm(f"Remove the environment '{name}', {in_words(each.bytes)}?", yes=yes)
    remove(each.place)


def _environments() -> list[Environment]:
    from phoundry.client import Client
    from phoundry.flows.environments.use import environments

    return environments(Client().home)
