"""`phoundry trace`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phoundry.cli.arguments import confirm
from phoundry.cli.commands import noun, verb
from phoundry.cli.output import Format, Output, Printer
from phoundry.cli.screen import echo, escaped
from phoundry.errors import UsageError

if TYPE_CHECKING:
    from phoundry.specs.trace import TraceSummary

app = noun("Traces of flows: what every run did.")
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Their first digits do.")]
SHORT = 12  # digits of an id in a list


@verb(
    app,
    "list",
    example="phoundry trace list --flow my-flow --failed\nphoundry trace list --endpoint chat",
)
def list_(
    flow: Annotated[Path | None, typer.Option(help="Of the flow in this folder.")] = None,
    run: Annotated[str | None, typer.Option(help="Of this batch run.")] = None,
    failed: Annotated[bool | None, typer.Option("--failed/--completed", help="Only these.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Of requests to this endpoint.")] = None,
    deployment: Annotated[
        str | None, typer.Option(help="Of requests to deployments of this name.")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1)] = 20,
    output: Output = Format.table,
) -> None:
    """List what ran, the newest first."""
    from phoundry.client import Client

    out = Printer(output)
    found = Client().traces.list(
        flow=flow, run=run, failed=failed, endpoint=endpoint, deployment=deployment, limit=limit
    )
    out.many(
        found,
        {
            "id": lambda trace: trace.id[:SHORT],
            "flow": lambda trace: trace.name,
            "started": lambda trace: trace.started_at,
            "seconds": lambda trace: f"{trace.seconds:.3f}",
            "tokens": lambda trace: f"{trace.input_tokens} → {trace.output_tokens}",
            "of": _where,
            "status": lambda trace: trace.status,
        },
        "There are no such traces. Every run of a flow makes one: phoundry flow test PATH",
    )
    if found:
        out.suggest(f"phoundry trace show {found[0].id[:SHORT]}")


def _where(trace: TraceSummary) -> str | None:
    """The batch and its line, or the endpoint and its deployment."""
    if trace.endpoint:
        return f"{trace.endpoint}/{trace.deployment}"
    return trace.run and f"{trace.run}:{trace.line}"


@verb(app, "show", example="phoundry trace show last\nphoundry trace show 4f0c --full")
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="Its first digits, or last.")] = "last",
    full: Annotated[bool, typer.Option("--full", help="Every value whole.")] = False,
    output: Output = Format.table,
) -> None:
    """Show a trace as a tree: times, tokens, prompts, answers, errors."""
    from phoundry.client import Client

    out = Printer(output)
    found = Client().traces.show(id, full=full)
    if not out.talks:
        out.value(found.model_dump(mode="json", exclude={"text"}))
        return
    echo(f"trace {found.id}  {found.started_at:%Y-%m-%d %H:%M:%S} UTC  {found.status}")
    for line in found.text:
        echo(line)


@verb(
    app,
    "export",
    example="phoundry trace export --otlp http://127.0.0.1:4318\n"
    "phoundry trace export 4f0c -o json > trace.json",
)
def export(
    ids: Ids = None,
    otlp: Annotated[
        str | None, typer.Option(help="Address of a collector; its OTLP/HTTP port.")
    ] = None,
    output: Output = Format.table,
) -> None:
    """Send traces to a collector, all of them or some; with -o json, print them in OTLP's JSON.

    With OTEL_EXPORTER_OTLP_ENDPOINT set every run is sent as it ends.
    """
    from phoundry.client import Client

    out, traces = Printer(output), Client().traces
    if not out.talks and otlp is None:
        if out.format is Format.json:
            for piece in traces.pieces(ids or ()):
                typer.echo(escaped(piece), nl=False)
        else:
            out.value(traces.document(ids or ()))
        return
    count = traces.export(ids or (), otlp=otlp)
    out.value({"spans": count}, f"Sent {count:,} spans.")


@verb(app, "delete", example="phoundry trace delete 4f0c\nphoundry trace delete --older-than 7 -y")
def delete(
    ids: Ids = None,
    older_than: Annotated[
        float | None, typer.Option(help="Also what began so many days ago.", min=0)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    output: Output = Format.table,
) -> None:
    """Forget traces. What is older than 30 days, or beyond 200 MB, goes by itself."""
    from phoundry.client import Client

    out = Printer(output)
    if not ids and older_than is None and not everything:
        raise UsageError("No trace is named.", remedy="Name some, or add --older-than or --all.")
    what = "all traces" if everything else "these traces"
    confirm(f"Forget {what}?", yes=yes)
    days = 0.0 if everything else older_than
    count = Client().traces.delete(ids or (), older_than_days=days)
    out.value({"deleted": count}, f"{count:,} traces are gone.")
