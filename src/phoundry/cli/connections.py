"""`phoundry connection`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.arguments import assignments, confirm
from phoundry.cli.commands import noun, verb
from phoundry.cli.output import Format, Output, Printer
from phoundry.errors import UsageError

if TYPE_CHECKING:
    from phoundry.client import Client
    from phoundry.specs.connection import ConnectionSpec, ConnectionValues

app = noun("Connections: addresses and secrets.")
Name = Annotated[str, typer.Argument(help="Name of the connection.")]
File = Annotated[Path | None, typer.Option("--file", "-f", help="Prompt flow's YAML.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A value that is no secret, name=value.")
]
Secrets = Annotated[
    list[str] | None,
    typer.Option("--secret", help="Name of a secret, asked for; or name=env:VARIABLE."),
]
FromStdin = Annotated[
    bool, typer.Option("--secret-stdin", help="Read secrets from standard input, name=value lines.")
]


@verb(
    app,
    "create",
    example=(
        "phoundry connection create faq --endpoint faq\n"
        "phoundry connection create faq --set endpoint=http://127.0.0.1:7411/… --secret key\n"
        "phoundry connection create faq --secret key=env:FAQ_KEY\n"
        "phoundry endpoint keys faq --only primary "
        "| phoundry connection create faq --secret key --secret-stdin\n"
        "phoundry connection create -f connection.yaml"
    ),
)
def create(
    name: Annotated[str | None, typer.Argument(help="Its name, unless FILE has it.")] = None,
    file: File = None,
    kind: Annotated[
        str | None,
        typer.Option("--type", help="custom, open_ai, azure_open_ai, serverless, serp, …"),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="An endpoint of ours: its address and key are filled in.")
    ] = None,
    settings: Settings = None,
    secrets: Secrets = None,
    secret_stdin: FromStdin = False,
    output: Output = Format.table,
) -> None:
    """Create a connection. Its secrets are encrypted, and shown as *** from then on.

    A secret's value never stands on the command line: other users of the machine could read it,
    and the shell keeps it. It is asked for, read from standard input or from the environment. In a
    file the value <user-input> is asked for.
    """
    from phoundry.client import Client

    if not (name or file or endpoint):
        raise UsageError("The connection has no name.", remedy="Give a NAME or -f FILE.")
    client = Client()
    if endpoint:
        if file or kind or settings or secrets:
            raise UsageError("--endpoint fills in everything.", remedy="Give it with NAME alone.")
        spec = _to_endpoint(client, name or endpoint, endpoint)
    else:
        spec = _spec(name, file, kind, settings, secrets, secret_stdin)
    out = Printer(output)
    connection = client.connections.create(spec)
    out.one(connection)
    out.suggest(f"phoundry flow init FOLDER --connection {connection.name}")


@verb(app, "update", example="phoundry connection update faq --secret key")
def update(
    name: Name,
    file: File = None,
    settings: Settings = None,
    secrets: Secrets = None,
    secret_stdin: FromStdin = False,
    output: Output = Format.table,
) -> None:
    """Change values of a connection; what is not named stays as it is."""
    from phoundry.client import Client

    connections = Client().connections
    connections.show(name)  # and not an endpoint of that name
    old = connections.values(name)
    spec = _spec(name, file, old.type, settings, secrets, secret_stdin, over=old)
    Printer(output).one(connections.replace(spec))


@verb(app, "list", example="phoundry connection list")
def list_(output: Output = Format.table) -> None:
    """List every connection."""
    from phoundry.client import Client

    Printer(output).many(
        Client().connections.list(),
        {
            "name": lambda connection: connection.name,
            "type": lambda connection: connection.type,
            "values": lambda connection: " ".join([*connection.configs, *connection.secrets]),
            "updated": lambda connection: connection.updated_at,
        },
        "There is no connection yet: phoundry connection create NAME --set k=v --secret k",
    )


@verb(app, "show", example="phoundry connection show faq")
def show(name: Name, output: Output = Format.table) -> None:
    """Show a connection, its secrets as ***."""
    from phoundry.client import Client

    Printer(output).one(Client().connections.show(name))


@verb(app, "delete", example="phoundry connection delete faq -y")
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete a connection with its secrets."""
    from phoundry.client import Client

    connections = Client().connections
    connections.show(name)
    confirm(f"Delete the connection '{name}'?", yes=yes)
    connections.delete(name)
    Printer(Format.table).note(f"Connection '{name}' is deleted.")


def _to_endpoint(client: Client, name: str, endpoint: str) -> ConnectionSpec:
    from phoundry.specs.connection import ConnectionSpec

    key = client.endpoints.keys(endpoint).primaryKey
    return ConnectionSpec.to_endpoint(name, client.endpoints.show(endpoint), key)


def _spec(
    name: str | None,
    file: Path | None,
    kind: str | None,
    settings: list[str] | None,
    secrets: list[str] | None,
    secret_stdin: bool,
    over: ConnectionValues | None = None,
) -> ConnectionSpec:
    """What the file says, with what the command line says over it; all of it goes over `over`."""
    from phoundry.cli.secrets import ask_placeholders, secret_values
    from phoundry.client.checking import checked
    from phoundry.specs.connection import ConnectionSpec
    from phoundry.specs.connection_file import read_connection

    values: dict[str, Any] = read_connection(file) if file else {}
    written: dict[str, str] = values.get("secrets", {})
    named = secret_values(secrets or [], from_stdin=secret_stdin)
    waiting = {key: value for key, value in written.items() if key not in named}
    values["secrets"] = ask_placeholders(waiting) | named
    values["configs"] = values.get("configs", {}) | assignments(settings, "--set")
    values |= {"name": name} if name else {}
    values |= {"type": kind} if kind else {}
    if both := sorted(set(values["configs"]) & set(values["secrets"])):
        raise UsageError(f"{', '.join(both)} is set both as a secret and in clear.")
    if over is not None:
        values["configs"] = over.configs | values["configs"]
        values["secrets"] = over.secrets | values["secrets"]
    return checked(ConnectionSpec, values, "The connection")
