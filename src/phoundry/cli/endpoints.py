"""`phoundry endpoint`"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from phoundry.cli.arguments import assignments, confirm, placed, traffic
from phoundry.cli.commands import noun, verb
from phoundry.cli.output import Format, Output, Printer
from phoundry.cli.screen import echo
from phoundry.errors import UsageError

app = noun("Endpoints: an address, keys, traffic.")
Name = Annotated[str, typer.Argument(help="Name of the endpoint.")]


class Key(StrEnum):
    primary = "primary"
    secondary = "secondary"


@verb(
    app, "create", example="phoundry endpoint create faq\nphoundry endpoint create -f endpoint.yaml"
)
def create(
    name: Annotated[str | None, typer.Argument(help="Its name, unless FILE has it.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Azure ML's endpoint YAML.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Write over a key: description=text.")
    ] = None,
    output: Output = Format.table,
) -> None:
    """Create an endpoint. It answers once a deployment is behind it."""
    from phoundry.client import Client
    from phoundry.client.checking import checked
    from phoundry.specs import yaml
    from phoundry.specs.endpoint import EndpointSpec

    if not name and not file:
        raise UsageError("The endpoint has no name.", remedy="Give a NAME or -f FILE.")
    spec = yaml.load(file, EndpointSpec) if file else None
    if name or settings:
        known: dict[str, Any] = spec.model_dump(by_alias=True, exclude_unset=True) if spec else {}
        known = placed(known | ({"name": name} if name else {}), assignments(settings, "--set"))
        spec = checked(EndpointSpec, known, "The endpoint")
    assert spec  # noqa: S101 - one of the two was given
    out = Printer(output)
    endpoint = Client().endpoints.create(spec)
    out.one(endpoint)
    out.suggest(f"phoundry deployment create blue --endpoint {endpoint.name} --model MODEL")


@verb(app, "list", example="phoundry endpoint list")
def list_(output: Output = Format.table) -> None:
    """List every endpoint."""
    from phoundry.client import Client

    Printer(output).many(
        Client().endpoints.list(),
        {
            "name": lambda endpoint: endpoint.name,
            "state": lambda endpoint: endpoint.provisioning_state,
            "traffic": lambda endpoint: (
                " ".join(f"{name}={share}" for name, share in endpoint.traffic.items()) or None
            ),
            "scoring uri": lambda endpoint: endpoint.scoring_uri,
            "created": lambda endpoint: endpoint.created_at,
        },
        "There is no endpoint yet: phoundry endpoint create NAME",
    )


@verb(app, "show", example="phoundry endpoint show faq -o yaml")
def show(name: Name, output: Output = Format.table) -> None:
    """Show an endpoint: addresses, traffic, deployments, events."""
    from phoundry.client import Client

    Printer(output).one(Client().endpoints.show(name))


@verb(
    app,
    "keys",
    example="phoundry endpoint keys faq\nKEY=$(phoundry endpoint keys faq --only primary)",
)
def keys(
    name: Name,
    only: Annotated[Key | None, typer.Option(help="Print this key and nothing else.")] = None,
    regenerate: Annotated[Key | None, typer.Option(help="Replace this key first.")] = None,
    output: Output = Format.table,
) -> None:
    """Print an endpoint's keys, the secrets that its callers send."""
    from phoundry.client import Client

    endpoints = Client().endpoints
    pair = endpoints.regenerate(name, regenerate.value) if regenerate else endpoints.keys(name)
    if only:
        echo(pair.primaryKey if only is Key.primary else pair.secondaryKey)
    else:
        Printer(output).one(pair)


@verb(app, "update", example="phoundry endpoint update faq --traffic blue=90,green=10")
def update(
    name: Name,
    shares: Annotated[
        list[str], typer.Option("--traffic", help="Percent of each deployment, adding up to 100.")
    ],
    output: Output = Format.table,
) -> None:
    """Share the requests out among the deployments."""
    from phoundry.client import Client

    Printer(output).one(Client().endpoints.update(name, traffic(shares)))


@verb(app, "delete", example="phoundry endpoint delete faq -y")
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete an endpoint with its deployments; their processes end."""
    from phoundry.client import Client

    endpoints = Client().endpoints
    found = endpoints.show(name)
    confirm(f"Delete the endpoint '{name}' with {len(found.deployments)} deployments?", yes=yes)
    endpoints.delete(name)
    Printer(Format.table).note(f"Endpoint '{name}' is deleted.")
