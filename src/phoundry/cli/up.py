"""`phoundry up`, `phoundry down`, `phoundry status`"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.arguments import assignments
from phoundry.cli.commands import alone
from phoundry.cli.output import Format, Output, Printer, program
from phoundry.cli.screen import echo
from phoundry.errors import UsageError

if TYPE_CHECKING:
    from phoundry.client import Client
    from phoundry.specs.journey import Journey
    from phoundry.specs.status import Status

DEFAULT_MODEL = "smollm2-135m-instruct"
QUESTION = "Hello! What can you help me with?"


@alone(example="phoundry up\nphoundry up faq.jsonl\nphoundry up faq.jsonl --set num_train_epochs=3")
def up(
    data: Annotated[
        str | None, typer.Argument(help="File, folder, glob or hub data set of chats.")
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Base model.")] = DEFAULT_MODEL,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Of all that is made; else the file's.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A training parameter, name=value.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of the control plane.")] = None,
    gateway_port: Annotated[int | None, typer.Option(help="Port of the endpoints.")] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Run the control plane in this terminal.")
    ] = False,
    output: Output = Format.table,
) -> None:
    """Start Phoundry; with DATA, walk from data to chat.

    Check the data, fine-tune, register, deploy, connect, make a chat flow. Returns when all is
    ready. Interrupted, the journey goes on; the same command again follows it, and does nothing
    twice.
    """
    from phoundry.client import Client

    if foreground and data:
        raise UsageError("--foreground takes no DATA.", remedy="Run `phoundry up DATA` beside it.")
    client, out = Client(), Printer(output)
    if foreground:
        from phoundry.server.launch import run_foreground

        def told(address: str) -> None:
            out.note(f"Phoundry runs at {address}. Ctrl-C ends it and what it runs.")

        run_foreground(client.home, port=port, gateway_port=gateway_port, on_ready=told)
        return
    info = client.start(port=port, gateway_port=gateway_port)
    out.note(f"Phoundry runs at {info.url}, its endpoints at {info.gateway_url}.")
    if data is None:
        _print_status(out, client.status())
        out.suggest("phoundry up FILE.jsonl", "phoundry down")
        return
    _walk(client, out, data, name or name_of(Path(data)), model, assignments(settings, "--set"))


def _walk(
    client: Client, out: Printer, file: str, name: str, model: str, parameters: dict[str, str]
) -> None:
    """The same as applying the project that these words are short for."""
    from phoundry.cli.apply import carry_out
    from phoundry.client.documents import declared
    from phoundry.specs.project import CHAT

    values: dict[str, Any] = {
        "name": name,
        "data": {"source": file},
        "model": model,
        "finetune": parameters,
        "flow": CHAT,
    }
    documents = [declared(values)]
    plan = client.apply.plan(documents)
    carry_out(client, out, documents, plan, wait=True)
    closing(client, out, client.journeys.show(name))
    for note in plan.notes:
        out.note(f"Note: {note}")


def closing(
    client: Client,
    out: Printer,
    journey: Journey,
    *,
    extra: dict[str, Any] | None = None,
    question: str = QUESTION,
) -> None:
    """Say where the model answers now, and how to ask it."""
    endpoint = client.endpoints.show(journey.endpoint or journey.name)
    command = curl(endpoint.name, endpoint.scoring_uri, question)
    flow = journey.flow_path
    if not out.talks:
        found = journey.model_dump(mode="json") | (extra or {})
        out.value(found | {"scoring_uri": endpoint.scoring_uri, "flow": flow, "curl": command})
        return
    echo(f"\nEndpoint   {endpoint.scoring_uri}")
    echo(f"OpenAI     {endpoint.openai_base_url}  (model: {endpoint.name})")
    if flow:
        echo(f"Flow       {flow}")
    echo(f"\n{command}\n")
    out.suggest(f"phoundry chat {shlex.quote(flow or endpoint.name)}")


def curl(endpoint: str, scoring_uri: str, question: str = QUESTION) -> str:
    """A line that asks the endpoint. The key is fetched when the line runs, not printed."""
    asked = {"input_data": {"input_string": [{"role": "user", "content": question}]}}
    body = json.dumps(asked).replace("'", "\\u0027")  # a quote would end the shell's string
    return (
        f"curl {scoring_uri} -H 'Content-Type: application/json' \\\n"
        f'  -H "Authorization: Bearer $({program()} endpoint keys {endpoint} --only primary)" \\\n'
        f"  -d '{body}'"
    )


def name_of(file: Path) -> str:
    """A file's name as an endpoint's: 3 to 32 letters, digits and hyphens, a letter first."""
    name = re.sub(r"[^a-zA-Z0-9]+", "-", file.stem).strip("-")
    if not name[:1].isalpha():
        name = f"data-{name}".rstrip("-")
    if len(name) < 3:
        name = f"{name}-data"
    return name[:32].rstrip("-")


@alone(example="phoundry down")
def down() -> None:
    """Stop Phoundry and everything it runs.

    What is kept stays; a job that was training goes on from its last checkpoint at the next start.
    """
    from phoundry.client import Client

    stopped = Client().shutdown()
    Printer(Format.table).note("Phoundry has stopped." if stopped else "Phoundry does not run.")


@alone(example="phoundry status -o json")
def status(output: Output = Format.table) -> None:
    """Show what runs, and where."""
    from phoundry.client import Client

    out = Printer(output)
    found = Client().status()
    _print_status(out, found)
    if not found.running:
        out.suggest("phoundry up")


def _print_status(out: Printer, found: Status) -> None:
    from phoundry.cli.output import sheet, table

    fields = found.model_dump(mode="json")
    if out.talks and found.processes:
        del fields["processes"]
        rows = [
            [each.kind, each.name, str(each.pid), f"{(each.memory_bytes or 0) / 2**20:,.0f} MiB"]
            for each in found.processes
        ]
        processes = table(["process", "name", "pid", "memory"], rows)
        out.value(fields, text=f"{sheet(fields)}\n\n{processes}")
    else:
        out.value(fields)
