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

app = noun("Endpoints: an address, keys, traffic, limits.")
Name = Annotated[str, typer.Argument(help="Name of the endpoint.")]
NONE = "none"


class Mode(StrEnum):
    key = "key"
    aml_token = "aml_token"  # noqa: S105 - the name of a way, not a token


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
    auth_mode: Annotated[
        Mode | None, typer.Option(help="What opens it: keys, or tokens that expire.")
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
    if name or settings or auth_mode:
        known: dict[str, Any] = spec.model_dump(by_alias=True, exclude_unset=True) if spec else {}
        given = {"name": name, "auth_mode": auth_mode.value if auth_mode else None}
        known |= {key: value for key, value in given.items() if value}
        known = placed(known, assignments(settings, "--set"))
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
            "mirror": lambda endpoint: (
                " ".join(f"{name}={share}" for name, share in endpoint.mirror_traffic.items())
                or None
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


@verb(
    app,
    "token",
    example="phoundry endpoint token faq\nTOKEN=$(phoundry endpoint token faq --only)",
)
def token(
    name: Name,
    only: Annotated[bool, typer.Option("--only", help="Print the token and no more.")] = False,
    seconds: Annotated[
        int, typer.Option(min=1, max=86_400, help="How long it opens the endpoint.")
    ] = 3600,
    output: Output = Format.table,
) -> None:
    """Get a token that expires, for an endpoint with --auth-mode aml_token.

    It is shown this once. An answer that has begun before its last second is given to its end.
    """
    from phoundry.client import Client

    made = Client().endpoints.token(name, seconds)
    if only:
        echo(made.accessToken)
    else:
        Printer(output).one(made)


@verb(
    app,
    "update",
    example=(
        "phoundry endpoint update faq --traffic blue=90,green=10\n"
        "phoundry endpoint update faq --mirror next=20 --rate-limit 600\n"
        "phoundry endpoint update faq --allow-origin https://example.org"
    ),
)
def update(
    name: Name,
    shares: Annotated[
        list[str] | None,
        typer.Option("--traffic", help="Percent of each deployment, adding up to 100."),
    ] = None,
    mirror: Annotated[
        list[str] | None,
        typer.Option(help="Copy so many percent (at most 50) to one without traffic; 'none'."),
    ] = None,
    rate_limit: Annotated[
        int | None, typer.Option(min=0, help="Requests a minute for each key; 0: no limit.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="A web page's origin that may call it, instead of before; 'none'."),
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    output: Output = Format.table,
) -> None:
    """Change an endpoint while it serves: only what is given changes.

    It is in force when the command returns, and no request that is under way is dropped.
    """
    from phoundry.client import Client

    if not any((shares, mirror, allow_origin)) and rate_limit is None and description is None:
        raise UsageError("Nothing is to be changed.", remedy="See the options with --help.")
    changed = Client().endpoints.update(
        name,
        traffic(shares) if shares else None,
        mirror_traffic=_mirror(mirror),
        requests_per_minute=rate_limit,
        allowed_origins=_origins(allow_origin),
        description=description,
    )
    Printer(output).one(changed)


def _mirror(words: list[str] | None) -> dict[str, int] | None:
    if not words:
        return None
    return {} if words == [NONE] else traffic(words, "--mirror")


def _origins(words: list[str] | None) -> list[str] | None:
    if not words:
        return None
    return [] if words == [NONE] else words


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
